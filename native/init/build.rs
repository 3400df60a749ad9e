//! On glibc a program without the standard library must name what it is linked with.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        // The linker that comes with Rust makes a program of it that jumps to nowhere.
        println!("cargo::rustc-link-arg-bins=-fuse-ld=bfd");
        println!("cargo::rustc-link-arg-bins=-Wl,--start-group,-lc,-lgcc,-lgcc_eh,--end-group");
    }
}
