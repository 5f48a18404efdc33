//! What a linker is told about the shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        let part = |name: &str| std::env::var(format!("CARGO_PKG_VERSION_{name}")).unwrap_or_default();
        // Before 1.0 a minor version may change the ABI, and so has a name of its own.
        let soname = match part("MAJOR").as_str() {
            "0" => format!("libkubetether.so.0.{}", part("MINOR")),
            major => format!("libkubetether.so.{major}"),
        };
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{soname}");
        // Its threads outlive a dlclose.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
