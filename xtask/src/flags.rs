//! Reading a command's flags.

use anyhow::{Context, Result, bail};

/// The values of `--name value` flags, in the order of `names`; anything else is an error.
pub fn values<const N: usize>(args: &[String], names: [&str; N]) -> Result<[Option<String>; N]> {
    let mut values = [const { None }; N];
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(slot) = names.iter().position(|name| name == arg).and_then(|index| values.get_mut(index)) else {
            bail!("unexpected `{arg}`; known here: {}", names.join(" "));
        };
        *slot = Some(args.next().with_context(|| format!("{arg} wants a value"))?.clone());
    }
    Ok(values)
}

/// A port, or its default.
pub fn port(value: Option<String>, default: u16) -> Result<u16> {
    value.map_or(Ok(default), |port| port.parse().with_context(|| format!("`{port}` is no port")))
}
