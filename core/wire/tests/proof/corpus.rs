//! What fuzzing found worth keeping, again in every run.

use std::{fs, path::Path};

use crate::support::targets;

fn replay(name: &str) {
    let (_, target) = targets::ALL.iter().find(|(target, _)| *target == name).expect("a target of this name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 5, "{name} has a corpus of {} files", files.len());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        // Shown when it panics.
        println!("{}", file.display());
        target(&bytes);
    }
}

macro_rules! corpora {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn none_is_forgotten() {
            let replayed = [$(stringify!($name)),*];
            let all: Vec<_> = targets::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(replayed[..], all);
        }
    };
}

corpora! { frames hello open calls acceptor link peer model }
