//! The agent's program: found on this machine, or named by the user.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::names::short_hash;
use crate::{AgentSource, Error, ErrorCode, Result};

/// The file's name for the architecture it runs on.
const FILE: &str = "kubetether-agent-x86_64";

/// The other file, beside it: what puts a Service back from inside the cluster.
const RESTORER_FILE: &str = "kubetether-restore-x86_64";

/// The value of the node label `kubernetes.io/arch` that [`FILE`] runs on.
pub(crate) const NODE_ARCH: &str = "amd64";

/// A ConfigMap holds at most 1 MiB of data (Kubernetes' `MaxSecretSize`, which it shares).
const CARRIED_MAX: usize = 1024 * 1024;

/// The agent, ready to be brought into a cluster.
#[derive(Clone, Debug)]
pub(crate) enum Agent {
    /// Carried in a ConfigMap named by the hash.
    Carried { bytes: Arc<[u8]>, hash: String },
    /// In an image.
    Image { image: String, hash: String },
}

/// The program that puts a Service back from inside the cluster; carried like the agent.
#[derive(Clone, Debug)]
pub(crate) struct Restorer {
    bytes: Arc<[u8]>,
    hash: String,
}

/// A program in a ConfigMap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: PieceKind,
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: &'a str,
}

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    Agent,
    Restorer,
}

impl Restorer {
    /// That which lies beside the agent's file. `None` when there is none, and for an agent that is no file.
    pub(crate) fn beside(source: &AgentSource, folder: Option<&Path>) -> Option<Self> {
        let agent = match source {
            AgentSource::Carried => find(folder).ok()?,
            AgentSource::File(path) => path.clone(),
            AgentSource::Bytes(_) | AgentSource::Image(_) => return None,
        };
        let bytes = std::fs::read(agent.with_file_name(RESTORER_FILE)).ok()?;
        let fits = bytes.starts_with(b"\x7fELF") && bytes.len() <= CARRIED_MAX - 4096;
        fits.then(|| Self { hash: short_hash([&*bytes]), bytes: bytes.into() })
    }

    pub(crate) fn piece(&self) -> Piece<'_> {
        Piece { kind: PieceKind::Restorer, bytes: &self.bytes, hash: &self.hash }
    }
}

impl Agent {
    /// As it is carried; `None` when it is in an image.
    pub(crate) fn piece(&self) -> Option<Piece<'_>> {
        match self {
            Self::Carried { bytes, hash } => Some(Piece { kind: PieceKind::Agent, bytes, hash }),
            Self::Image { .. } => None,
        }
    }

    /// Looks the agent up, in `folder` first. Reads one file.
    pub(crate) fn load(source: &AgentSource, folder: Option<&Path>) -> Result<Self> {
        match source {
            AgentSource::Carried => Self::from_file(&find(folder)?),
            AgentSource::File(path) => Self::from_file(path),
            AgentSource::Bytes(bytes) => Self::carried(bytes.clone(), "the given bytes"),
            AgentSource::Image(image) => {
                Ok(Self::Image { image: image.clone(), hash: short_hash([image.as_bytes()]) })
            }
        }
    }

    /// Tells agents of different content apart.
    pub(crate) fn hash(&self) -> &str {
        match self {
            Self::Carried { hash, .. } | Self::Image { hash, .. } => hash,
        }
    }

    fn from_file(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| {
            missing(format!("the agent's file {} cannot be read", path.display())).because(error)
        })?;
        Self::carried(bytes.into(), &path.display().to_string())
    }

    fn carried(bytes: Arc<[u8]>, origin: &str) -> Result<Self> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err(missing(format!("{origin}: not a Linux program")));
        }
        // The rest is for the ConfigMap's other fields.
        if bytes.len() > CARRIED_MAX - 4096 {
            return Err(missing(format!("{origin}: {} bytes do not fit into a ConfigMap", bytes.len()))
                .try_this("use the small form that `make agent` builds, or an image"));
        }
        let hash = short_hash([&*bytes]);
        Ok(Self::Carried { bytes, hash })
    }
}

/// In the folder, beside the running program, else in `target/agent` of the checkout they were built in.
fn find(folder: Option<&Path>) -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(|error| {
        missing("the agent's file cannot be looked up: this program's own place is unknown".into())
            .because(error)
    })?;
    let mut beside: Vec<&Path> = folder.into_iter().chain(program.parent()).collect();
    beside.dedup();
    // Only there: a file that somebody else may have put into a folder above is not to be run.
    let around = beside.iter().flat_map(|folder| folder.ancestors());
    let built = around.filter(|folder| folder.ends_with("target")).map(|target| target.join("agent"));
    let mut places = beside.iter().map(|folder| folder.to_path_buf()).chain(built);
    places.find_map(|place| Some(place.join(FILE)).filter(|file| file.is_file())).ok_or_else(|| {
        let beside: Vec<String> = beside.iter().map(|folder| folder.display().to_string()).collect();
        missing(format!("no {FILE} in {} nor in target/agent of a checkout around it", beside.join(" or ")))
    })
}

fn missing(message: String) -> Error {
    Error::new(ErrorCode::AgentMissing, message)
        .try_this(
            "in a checkout, `make agent` builds it in target/agent; elsewhere put its files beside the program, or name \
             that folder (`Config::agent_folder`) or the file (`agent` of the options)",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_is_refused() {
        let source = AgentSource::Bytes(Arc::from(&b"#!/bin/sh"[..]));
        assert_eq!(Agent::load(&source, None).unwrap_err().code(), ErrorCode::AgentMissing);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.resize(CARRIED_MAX, 0);
        assert!(Agent::load(&AgentSource::Bytes(bytes.into()), None).is_err());
    }

    #[test]
    fn equal_content_has_an_equal_hash() {
        let load = |tail: u8| {
            let bytes: Arc<[u8]> = [b"\x7fELF".as_slice(), &[tail]].concat().into();
            Agent::load(&AgentSource::Bytes(bytes), None).unwrap().hash().to_owned()
        };
        assert_eq!(load(1), load(1));
        assert_ne!(load(1), load(2));
    }
}
