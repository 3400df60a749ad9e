//! Gives each kernel its layout in memory.

fn main() {
    println!("cargo::rerun-if-changed=link");
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    for (feature, program, script) in [
        ("CARGO_FEATURE_SPT", "httpreply-spt", "solo5.ld"),
        ("CARGO_FEATURE_HVT", "httpreply-hvt", "solo5.ld"),
        ("CARGO_FEATURE_PVH", "httpreply-pvh", "pvh.ld"),
    ] {
        if std::env::var_os(feature).is_some() {
            println!("cargo::rustc-link-arg-bin={program}=-T{here}/link/{script}");
        }
    }
}
