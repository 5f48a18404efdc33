//! Connects a developer's machine and a Kubernetes cluster, both ways, as a library.
