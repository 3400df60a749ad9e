//! The list of plugins that makes a network, as the operator wrote it, and as ADD keeps it for DEL.

use crate::error::{Context, Error, Result};
use crate::plan::{PortMapping, Protocol};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longer is no configuration that a person wrote.
const MAX_LIST_BYTES: u64 = 1024 * 1024;
const MAX_PLUGINS: usize = 32;
/// Before 0.4.0, DEL was not given the result of ADD.
const VERSIONS: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];

pub(super) struct List {
    pub name: String,
    pub version: String,
    pub plugins: Vec<Plugin>,
}

pub(super) struct Plugin {
    /// The program's name, without a slash.
    pub program: String,
    settings: Map<String, Value>,
}

impl List {
    /// The operator's list.
    pub fn read(path: &Path) -> Result<List> {
        let what = format!("the network's configuration {}", path.display());
        let file = File::open(path).or_system(|| format!("cannot read {what}"))?;
        let list = List::from_file(file, &what)?;
        match list.plugins.is_empty() {
            true => Err(Error::step(format!("{what}: has no plugins"))),
            false => Ok(list),
        }
    }

    /// A list from an opened file, which may have no plugins: as ADD keeps it before the first one. `what` names it in errors.
    pub fn from_file(file: File, what: &str) -> Result<List> {
        let mut text = Vec::new();
        file.take(MAX_LIST_BYTES + 1)
            .read_to_end(&mut text)
            .or_system(|| format!("cannot read {what}"))?;
        let problem = |reason: &str| Error::step(format!("{what}: {reason}"));
        if text.len() as u64 > MAX_LIST_BYTES {
            return Err(problem("is larger than 1 MiB"));
        }
        let list: Value =
            serde_json::from_slice(&text).map_err(|error| problem(&format!("is not JSON: {error}")))?;
        List::decode(&list).map_err(|reason| problem(&reason))
    }

    /// The list with its first `count` plugins only, in the format in which it is read.
    pub fn first(&self, count: usize) -> Value {
        let plugins = self.plugins.iter().take(count);
        let plugins: Vec<&Map<String, Value>> = plugins.map(|plugin| &plugin.settings).collect();
        json!({ "name": self.name, "cniVersion": self.version, "plugins": plugins })
    }

    fn decode(list: &Value) -> std::result::Result<List, String> {
        let name = list["name"]
            .as_str()
            .filter(|name| is_plain(name))
            .ok_or("has no plain \"name\"")?;
        let version = list["cniVersion"].as_str().unwrap_or_default();
        if !VERSIONS.contains(&version) {
            return Err(format!(
                "has cniVersion {version:?}; known are {}",
                VERSIONS.join(", ")
            ));
        }
        let plugins = list["plugins"]
            .as_array()
            .filter(|plugins| plugins.len() <= MAX_PLUGINS);
        let plugins = plugins.ok_or(format!("needs a list \"plugins\" of 1 to {MAX_PLUGINS}"))?;
        let plugins = plugins
            .iter()
            .map(Plugin::decode)
            .collect::<std::result::Result<_, _>>()?;
        Ok(List {
            name: name.into(),
            version: version.into(),
            plugins,
        })
    }
}

impl Plugin {
    fn decode(plugin: &Value) -> std::result::Result<Plugin, String> {
        let settings = plugin
            .as_object()
            .ok_or("has a plugin that is no object")?
            .clone();
        let program = settings.get("type").and_then(Value::as_str).unwrap_or_default();
        if !is_plain(program) {
            return Err(format!(
                "has a plugin whose \"type\" is no plain program name: {program:?}"
            ));
        }
        Ok(Plugin {
            program: program.to_string(),
            settings,
        })
    }

    /// Whether the plugin wants to be told of published ports.
    pub fn maps_ports(&self) -> bool {
        self.settings
            .get("capabilities")
            .is_some_and(|known| known["portMappings"] == Value::Bool(true))
    }

    /// What the plugin reads on its standard input.
    pub fn config(&self, list: &List, ports: &[PortMapping], previous: Option<&Value>) -> Vec<u8> {
        let mut config = self.settings.clone();
        config.insert("name".into(), list.name.clone().into());
        config.insert("cniVersion".into(), list.version.clone().into());
        if self.maps_ports() && !ports.is_empty() {
            let mappings: Vec<Value> = ports.iter().map(mapping).collect();
            config.insert("runtimeConfig".into(), json!({ "portMappings": mappings }));
        }
        if let Some(previous) = previous {
            config.insert("prevResult".into(), previous.clone());
        }
        Value::Object(config).to_string().into_bytes()
    }
}

fn mapping(port: &PortMapping) -> Value {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let mut mapping =
        json!({ "hostPort": port.host_port, "containerPort": port.guest_port, "protocol": protocol });
    if let Some(host_ip) = &port.host_ip {
        mapping["hostIP"] = host_ip.clone().into();
    }
    mapping
}

/// A name that is one plain part of a path and of an iptables comment.
fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= 128
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(list: Value) -> String {
        List::decode(&list).err().expect("a refusal")
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_reason() {
        let plugin = json!({"type": "bridge"});
        let list =
            |version: &str, plugins: Value| json!({"name": "n", "cniVersion": version, "plugins": plugins});
        assert!(List::decode(&list("1.0.0", json!([plugin]))).is_ok());
        assert!(refusal(list("0.3.1", json!([plugin]))).contains("0.3.1"));
        assert!(refusal(list("1.0.0", json!(vec![&plugin; 33]))).contains("plugins"));
        assert!(refusal(list("1.0.0", json!([{"type": "../../bin/sh"}]))).contains("../../bin/sh"));
        assert!(refusal(list("1.0.0", json!([{"type": ""}]))).contains("type"));
        assert!(refusal(json!({"name": "a/b", "cniVersion": "1.0.0", "plugins": [plugin]})).contains("name"));
        assert!(refusal(json!([])).contains("name"));
    }

    #[test]
    fn a_plugin_is_told_only_what_it_asks_for() {
        let ports = [PortMapping {
            host_ip: None,
            host_port: 8080,
            guest_port: 80,
            protocol: Protocol::Tcp,
        }];
        let list = List::decode(&json!({"name": "n", "cniVersion": "1.0.0", "plugins": [
            {"type": "bridge", "bridge": "b0"}, {"type": "portmap", "capabilities": {"portMappings": true}}]}));
        let list = list.expect("a list");
        let config = |index: usize| -> Value {
            let plugin: &Plugin = &list.plugins[index];
            serde_json::from_slice(&plugin.config(&list, &ports, Some(&json!({"ips": []})))).expect("JSON")
        };
        let expected = json!({"type": "bridge", "bridge": "b0", "name": "n", "cniVersion": "1.0.0", "prevResult": {"ips": []}});
        assert_eq!(config(0), expected);
        let mapped = &config(1)["runtimeConfig"]["portMappings"][0];
        assert_eq!(
            mapped,
            &json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"})
        );
    }
}
