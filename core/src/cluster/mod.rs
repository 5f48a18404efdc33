//! The cluster as the engine sees it: its API, the objects kubetether makes there, the way to its agents.
