//! What the built component can reach is what `wit/world.wit` says.

use std::collections::BTreeSet;

use wit_parser::{InterfaceId, Resolve, WorldId, WorldItem, WorldKey};
use xtask::artifacts::Artifacts;

/// Every function of every interface that a world imports or exports, without
/// versions: `import wasi:io/poll [method]pollable.block`.
fn surface(resolve: &Resolve, world: WorldId) -> BTreeSet<String> {
    let world = &resolve.worlds[world];
    let mut surface = BTreeSet::new();
    for (direction, items) in [("import", &world.imports), ("export", &world.exports)] {
        for (key, item) in items {
            match (key, item) {
                (WorldKey::Interface(_), WorldItem::Interface { id, .. }) => {
                    let name = interface_name(resolve, *id);
                    surface.insert(format!("{direction} {name}"));
                    for function in resolve.interfaces[*id].functions.keys() {
                        surface.insert(format!("{direction} {name} {function}"));
                    }
                }
                other => panic!("not an interface: {other:?}"),
            }
        }
    }
    surface
}

fn interface_name(resolve: &Resolve, id: InterfaceId) -> String {
    let interface = &resolve.interfaces[id];
    let package = &resolve.packages[interface.package.expect("a package")].name;
    let name = interface.name.as_deref().expect("a name");
    format!("{}:{}/{name}", package.namespace, package.name)
}

#[test]
fn the_component_imports_and_exports_what_the_world_says() {
    let wasm = std::fs::read(Artifacts::paths().component).expect("a component");
    let decoded = wit_component::decode(&wasm).expect("a component");
    let wit_component::DecodedWasm::Component(resolve, world) = decoded else {
        panic!("not a component");
    };
    let built = surface(&resolve, world);

    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(xtask::root().join("wit")).expect("WIT");
    let world = resolve.select_world(&[package], Some("auth")).expect("a world");
    let declared = surface(&resolve, world);

    let undeclared: Vec<&String> = built.difference(&declared).collect();
    assert!(undeclared.is_empty(), "not in wit/: {undeclared:#?}");
    for forbidden in ["sockets", "filesystem", "outgoing-handler", "keyvalue", "redis", "sqlite"] {
        assert!(!built.iter().any(|name| name.contains(forbidden)), "{forbidden}");
    }
}
