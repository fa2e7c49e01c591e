//! Compiles a component for this machine: `precompile COMPONENT.wasm OUT.cwasm`.
//! `cargo xtask build` runs it before it builds auth-server around the result.

use anyhow::{Context, bail};
use edd_auth_server::component;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = args.as_slice() else {
        bail!("usage: precompile COMPONENT.wasm OUT.cwasm");
    };
    let wasm = std::fs::read(from).with_context(|| format!("can't read {from}"))?;
    let compiled = component::engine(1)?.precompile_component(&wasm)?;
    std::fs::write(to, compiled).with_context(|| format!("can't write {to}"))
}
