//! `proto/logging.proto` as Rust.
#![expect(clippy::pedantic, unreachable_pub, reason = "generated")]

tonic::include_proto!("logging");
