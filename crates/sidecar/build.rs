//! Generates the client of the log service from `proto/logging.proto`. The
//! compiler of it is a Rust one: nobody has to install `protoc`.

const DIRECTORY: &str = "proto";
const FILE: &str = "proto/logging.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={FILE}");
    tonic_prost_build::configure()
        // Only tests have a server: a stand-in for the log service.
        .server_mod_attribute("logging", "#[cfg(test)]")
        .build_transport(false)
        .btree_map(".")
        .compile_fds(protox::compile([FILE], [DIRECTORY])?)?;
    Ok(())
}
