//! The link between kubetether's two ends, sans-IO: frames, streams, credits, hello.
