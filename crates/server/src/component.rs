//! The engine, and the component in it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Most memory that one instance may have, in bytes. A hash needs 7 MiB, the
/// rest of the component less than 3.
pub const MAX_MEMORY: usize = 32 * 1024 * 1024;

/// Memory of a finished instance that stays with its slot, in bytes: what a
/// login touches. Page faults of fresh memory are half the cost of a hash.
const KEEP_RESIDENT: usize = 10 * 1024 * 1024;

/// How often a running instance is interrupted, to let others run and to see
/// whether it has had its share.
pub const TICK: Duration = Duration::from_millis(10);

/// An engine with room for so many instances at once.
///
/// # Errors
///
/// When the address space can't be reserved.
pub fn engine(max_instances: u32) -> anyhow::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(max_instances)
        .total_core_instances(max_instances * 8)
        .total_memories(max_instances)
        .total_tables(max_instances * 4)
        .total_stacks(max_instances)
        .max_memory_size(MAX_MEMORY)
        .linear_memory_keep_resident(KEEP_RESIDENT);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .memory_reservation(MAX_MEMORY as u64)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

/// Advances the engine's epoch for as long as the engine lives.
///
/// # Errors
///
/// When no thread can be had.
pub fn start_ticking(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}

/// Reads a component from a file: WebAssembly, which is compiled, which takes a
/// while.
///
/// # Errors
///
/// When the file can't be read or is no component.
pub fn from_file(engine: &Engine, path: &Path) -> anyhow::Result<Component> {
    Component::from_file(engine, path)
        .map_err(anyhow::Error::from)
        .with_context(|| format!("can't load the component {}", path.display()))
}

/// Takes a component that [`Engine::precompile_component`] has compiled.
///
/// # Errors
///
/// When it was compiled by another version of wasmtime, for another machine or
/// with other settings.
#[expect(unsafe_code, reason = "machine code can't be verified; it is our own build's")]
pub fn from_precompiled(engine: &Engine, code: &[u8]) -> anyhow::Result<Component> {
    // SAFETY: the callers pass what this very build has compiled: bytes of this
    // binary, or a file that `cargo xtask` has just written.
    Ok(unsafe { Component::deserialize(engine, code) }?)
}

/// The component that this binary was built around. Compiled ahead of time; on a
/// machine that lacks an instruction of the building one, compiled now.
///
/// # Errors
///
/// When this binary was built without a component.
pub fn embedded(engine: &Engine) -> anyhow::Result<Component> {
    #[cfg(feature = "embedded")]
    {
        let compiled = include_bytes!(concat!(env!("OUT_DIR"), "/component.cwasm"));
        from_precompiled(engine, compiled).or_else(|error| {
            tracing::warn!("the embedded component was compiled for another machine ({error:#})");
            let wasm = include_bytes!(concat!(env!("OUT_DIR"), "/component.wasm"));
            Ok(Component::from_binary(engine, wasm)?)
        })
    }
    #[cfg(not(feature = "embedded"))]
    {
        let _ = engine;
        anyhow::bail!(
            "this auth-server was built without a component; \
             use --component FILE, or build it with `cargo xtask build`"
        )
    }
}
