//! Prints row P11: `cargo run --release -p kms-bench --bin ttlv`.
#![allow(clippy::print_stdout)]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", kms_bench::ttlv::measure()?);
    Ok(())
}
