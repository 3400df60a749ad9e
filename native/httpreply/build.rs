//! Gives each kernel its layout in memory.

fn main() {
    println!("cargo::rerun-if-changed=link");
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let is_arm64 = std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "aarch64");
    let kernel_script = if is_arm64 { "image.ld" } else { "pvh.ld" };
    if is_arm64 && std::env::var_os("CARGO_FEATURE_KERNEL").is_some() {
        // An Image is no ELF, lies wherever the monitor puts it and moves itself.
        for argument in ["-pie", "--no-dynamic-linker", "--oformat=binary"] {
            println!("cargo::rustc-link-arg-bin=httpreply-kernel={argument}");
        }
    }
    for (feature, program, script) in [
        ("CARGO_FEATURE_SPT", "httpreply-spt", "solo5.ld"),
        ("CARGO_FEATURE_HVT", "httpreply-hvt", "solo5.ld"),
        ("CARGO_FEATURE_KERNEL", "httpreply-kernel", kernel_script),
    ] {
        if std::env::var_os(feature).is_some() {
            // Else segments would be aligned to 64 KiB on arm64, in the file too.
            println!("cargo::rustc-link-arg-bin={program}=-zmax-page-size=4096");
            println!("cargo::rustc-link-arg-bin={program}=-T{here}/link/{script}");
        }
    }
}
