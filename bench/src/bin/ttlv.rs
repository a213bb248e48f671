//! Prints row P11: `cargo run --release -p kms-bench --bin ttlv`.
#![allow(clippy::print_stdout)]

fn main() {
    println!("{}", kms_bench::ttlv::measure());
}
