//! kubetether's link on tokio: carriers in, AsyncRead and AsyncWrite streams out.
