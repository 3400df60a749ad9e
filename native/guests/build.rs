//! Hands the linker the layout of the ABI that is built.

fn main() {
    let script = if std::env::var_os("CARGO_FEATURE_SPT").is_some() {
        "spt.ld"
    } else {
        "hvt.ld"
    };
    let folder = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo:rustc-link-arg-bins=-T{folder}/{script}");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=0x1000");
    println!("cargo:rerun-if-changed={script}");
    println!("cargo:rerun-if-changed=build.rs");
}
