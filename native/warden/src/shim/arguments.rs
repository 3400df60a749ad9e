//! The arguments, as Go's `flag` takes them: one dash or two, a value behind `=` or as the next word.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Start,
    Delete,
    Info,
    Version,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    pub action: Action,
    pub namespace: String,
    pub id: String,
    /// containerd's own socket.
    pub address: String,
    /// With `delete`; else the working directory is the bundle.
    pub bundle: Option<String>,
}

/// A name that is one part of a path: containerd's identifiers.
fn is_identifier(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|each| each.is_ascii_alphanumeric() || matches!(each, '.' | '_' | '-'))
}

impl Invocation {
    pub fn parse(arguments: &[String]) -> Result<Invocation, String> {
        let (mut namespace, mut id, mut address, mut bundle) = (None, None, None, None);
        let mut action = None;
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                if matches!(action, Some(Action::Start | Action::Delete)) {
                    return Err(format!("{word:?} is one word too many"));
                }
                action = Some(match word.as_str() {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    other => return Err(format!("{other:?} is neither start nor delete")),
                });
                continue;
            };
            let (name, inline) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (option, None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| words.next().cloned())
                    .ok_or_else(|| format!("-{name} wants a value"))
            };
            match name {
                "v" | "version" => action = Some(Action::Version),
                "info" => action = Some(Action::Info),
                "debug" => {}
                "namespace" => namespace = Some(value()?),
                "id" => id = Some(value()?),
                "address" => address = Some(value()?),
                "bundle" => bundle = Some(value()?),
                "publish-binary" | "socket" => drop(value()?),
                _ => return Err(format!("-{name} is not known")),
            }
        }
        let action = action.ok_or("neither start nor delete was asked for")?;
        let invocation = Invocation {
            action,
            namespace: namespace.unwrap_or_default(),
            id: id.unwrap_or_default(),
            address: address.unwrap_or_default(),
            bundle,
        };
        if action == Action::Start && !invocation.address.starts_with('/') {
            return Err(format!(
                "-address: {:?} is no path of containerd's socket",
                invocation.address
            ));
        }
        if matches!(action, Action::Start | Action::Delete) {
            for (name, text) in [("namespace", &invocation.namespace), ("id", &invocation.id)] {
                if !is_identifier(text) {
                    return Err(format!("-{name}: {text:?} is no identifier"));
                }
            }
        }
        Ok(invocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, String> {
        Invocation::parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn what_containerd_writes_is_understood() {
        let line = "-namespace k8s.io -address /run/containerd/containerd.sock -publish-binary /usr/bin/containerd -id a1 -debug start";
        let invocation = parse(line).unwrap();
        assert_eq!(invocation.action, Action::Start);
        assert_eq!(
            (invocation.namespace.as_str(), invocation.id.as_str()),
            ("k8s.io", "a1")
        );
        let invocation = parse("--namespace=default --id=b -bundle /b delete").unwrap();
        assert_eq!(
            (invocation.action, invocation.bundle.as_deref()),
            (Action::Delete, Some("/b"))
        );
        assert_eq!(parse("-v").unwrap().action, Action::Version);
        assert_eq!(parse("-info").unwrap().action, Action::Info);
    }

    #[test]
    fn names_that_are_no_part_of_a_path_are_refused() {
        for id in ["..", "a/b", "", ".hidden", "a b", &"x".repeat(129)] {
            let line = format!("-namespace default -address /c.sock -id {id} start");
            assert!(parse(&line).is_err(), "{id}");
        }
        assert!(parse("-namespace default -address /c.sock -id a start").is_ok());
        assert!(parse("-namespace default -address /c.sock -id a start more").is_err());
        assert!(parse("-namespace default -id a start").is_err(), "no address");
        assert!(parse("-namespace ../x -id a start").is_err());
        assert!(parse("-id a start").is_err());
        assert!(parse("-nonsense start").is_err());
        assert!(parse("-namespace default -id a stop").is_err());
    }
}
