//! The header is that of the sources, and says of everything what it does.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use kubetether::ErrorCode;
use kubetether_ffi::log::LEVELS;
use kubetether_ffi::status::constant;
use kubetether_ffi::version;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What cbindgen reads: the functions as their macro made them, the enums as the engine's tables have them. It does not see
/// through macros itself.
fn declarations() -> String {
    let mut text = String::from("use std::ffi::{c_char, c_void};\n");
    let mut enumeration = |name: &str, doc: &str, values: &[(String, u32, String)]| {
        writeln!(text, "/// {doc}\n#[repr(u32)]\npub enum {name} {{").unwrap();
        for (name, number, doc) in values {
            writeln!(text, "    ///{doc}\n    {name} = {number},").unwrap();
        }
        text.push_str("}\n");
    };
    let mut statuses = vec![("KT_OK".to_owned(), 0, " Done.".to_owned())];
    statuses.extend(
        ErrorCode::ALL.iter().map(|code| (constant(*code), code.number(), format!(" {}", code.meaning()))),
    );
    enumeration(
        "kt_status",
        "What a function returns. Numbers keep their meaning, and there will be more.",
        &statuses,
    );
    let docs = [
        "Faults of the library itself.",
        "Somebody should look.",
        "Steps.",
        "Names and addresses.",
        "Packets.",
    ];
    let levels: Vec<_> = LEVELS.iter().zip(1..).zip(docs).collect();
    let levels: Vec<_> = levels
        .iter()
        .map(|(((name, _), number), doc)| ((*name).to_owned(), *number, format!(" {doc}")))
        .collect();
    enumeration(
        "kt_log_level",
        "How much a line of the log matters; each level is told with those before it.",
        &levels,
    );
    let types = ["kt_session", "kt_exchange", "kt_forward", "kt_events", "kt_cancel", "kt_text", "kt_error"];
    let source = std::fs::read_to_string(here("src/handle.rs")).unwrap();
    for name in types {
        let at = source.find(&format!("    {name} => ")).unwrap_or_else(|| panic!("no {name}"));
        let doc = source[..at].lines().rev().find(|line| !line.trim().is_empty()).unwrap();
        writeln!(text, "{}\npub struct {name} {{ _private: [u8; 0] }}", doc.trim()).unwrap();
    }
    for export in kubetether_ffi::exports() {
        for line in export.docs {
            writeln!(text, "///{line}").unwrap();
        }
        let returns =
            if export.returns.is_empty() { String::new() } else { format!("-> {}", export.returns) };
        writeln!(text, "#[unsafe(no_mangle)]").unwrap();
        writeln!(text, "pub unsafe extern \"C\" fn {}({}) {returns} {{}}", export.name, export.arguments)
            .unwrap();
    }
    text
}

/// The part of a source that cbindgen can read itself.
fn item(file: &str, from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(here(file)).unwrap();
    let start = text.find(from).unwrap();
    let end = start + text[start..].find(to).unwrap() + to.len();
    text[start..end].to_owned()
}

fn header() -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("declarations.rs");
    let text = item("src/text.rs", "/// A view of a text", "\n}\n");
    let callback = item("src/log.rs", "/// Receives one line", ")>;\n");
    std::fs::write(&file, format!("{}\n{text}\n{callback}\n", declarations())).unwrap();
    let mut config = cbindgen::Config::from_file(here("cbindgen.toml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = version.split('.');
    let mut after = format!(
        "\n/** The version of this header, for the preprocessor; `kt_version` tells that of the library. */\n#define KT_VERSION \"{version}\"\n"
    );
    for name in ["MAJOR", "MINOR", "PATCH"] {
        writeln!(after, "#define KT_VERSION_{name} {}", parts.next().unwrap()).unwrap();
    }
    after.push_str(
        "#define KT_VERSION_NUMBER (KT_VERSION_MAJOR << 16 | KT_VERSION_MINOR << 8 | KT_VERSION_PATCH)\n",
    );
    config.after_includes = Some(after);
    let mut written = Vec::new();
    cbindgen::Builder::new().with_src(&file).with_config(config).generate().unwrap().write(&mut written);
    String::from_utf8(written).unwrap()
}

/// `KUBETETHER_WRITE=1 cargo test` writes it anew.
#[test]
fn the_header_is_that_of_the_sources() {
    let (file, now) = (here("include/kubetether.h"), header());
    if std::env::var_os("KUBETETHER_WRITE").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == now, "KUBETETHER_WRITE=1 cargo test -p kubetether-ffi --test header");
}

#[test]
fn everything_in_it_is_documented_and_named_in_the_readme() {
    let readme = std::fs::read_to_string(here("README.md")).unwrap();
    for export in kubetether_ffi::exports() {
        assert!(export.docs.iter().any(|line| line.trim().len() > 10), "{}", export.name);
        assert!(readme.contains(&format!("`{}`", export.name)), "{} is not in the README", export.name);
    }
    for word in
        readme.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("kt_"))
    {
        let header = std::fs::read_to_string(here("include/kubetether.h")).unwrap();
        assert!(header.contains(word), "the README has {word}, the header has not");
    }
}

#[test]
fn the_numbers_of_the_version_agree() {
    let header = std::fs::read_to_string(here("include/kubetether.h")).unwrap();
    let define = |name: &str| -> u32 {
        let line =
            header.lines().find(|line| line.starts_with(&format!("#define KT_VERSION_{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(version::number(), define("MAJOR") << 16 | define("MINOR") << 8 | define("PATCH"));
}
