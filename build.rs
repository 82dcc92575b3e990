//! How the program is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, expected: &str| std::env::var(name).is_ok_and(|found| found == expected);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        // Every supervisor, load and command is this program anew. At an address of the loader's choice, each of them would
        // first correct 100,000 pointers, on 600 pages that nobody else uses: most of the time of a start.
        println!("cargo:rustc-link-arg-bin=sb=-no-pie");
    }
}
