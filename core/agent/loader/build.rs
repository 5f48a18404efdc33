//! Compresses the agent's ELF into the loader.
//!
//! `KUBETETHER_LOADER_PAYLOAD` names the file; `core/agent/agent.mk` sets it.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::{env, fs};

use lzma_rust2::{LzmaOptions, LzmaWriter};

#[path = "src/branch.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the loader, which uses the other half")]
mod branch;

const PAYLOAD: &str = "KUBETETHER_LOADER_PAYLOAD";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed={PAYLOAD}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/branch.rs");
    // The loader brings its own entry point and needs nothing of the C library. One segment layout
    // without padding, no notes: every byte travels to the cluster.
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
        "-Wl,-z,noseparate-code",
        "-Wl,--no-eh-frame-hdr",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }

    let path = env::var(PAYLOAD)
        .map_err(|_| format!("{PAYLOAD} is not set: build the carried agent with `make agent`"))?;
    println!("cargo:rerun-if-changed={path}");
    let mut plain = fs::read(&path).map_err(|error| format!("{PAYLOAD}: cannot read {path}: {error}"))?;
    if !plain.starts_with(b"\x7fELF") {
        return Err(format!("{PAYLOAD}: {path} is not an ELF file").into());
    }
    let length = plain.len();
    branch::absolute(&mut plain);
    let (properties, packed) = pack(&plain)?;

    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set: run by cargo only")?;
    let out = Path::new(&out);
    fs::write(out.join("payload.lzma"), packed)?;
    fs::write(
        out.join("payload.rs"),
        format!(
            "const LENGTH: usize = {length};\nconst PROPERTIES: u8 = {properties};\n\
             static PACKED: &[u8] = include_bytes!(\"payload.lzma\");\n"
        ),
    )?;
    Ok(())
}

/// The smallest of a few ways to pack: which literal context fits machine code best differs by a
/// percent from build to build, and trying costs a second or two each.
fn pack(plain: &[u8]) -> Result<(u8, Vec<u8>), Box<dyn Error>> {
    let mut best: Option<(u8, Vec<u8>)> = None;
    for (lc, lp, pb) in [(3, 0, 0), (4, 0, 0), (3, 0, 2)] {
        let mut options = LzmaOptions::with_preset(9);
        options.dict_size = u32::try_from(plain.len().next_power_of_two())?.max(4096);
        options.nice_len = LzmaOptions::NICE_LEN_MAX;
        options.depth_limit = 1000;
        (options.lc, options.lp, options.pb) = (lc, lp, pb);
        let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false)?;
        writer.write_all(plain)?;
        let packed = writer.finish()?;
        if best.as_ref().is_none_or(|(_, smallest)| packed.len() < smallest.len()) {
            best = Some((options.get_props(), packed));
        }
    }
    best.ok_or_else(|| "nothing packed".into())
}
