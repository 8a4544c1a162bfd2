//! The demonstration: a toy identity provider, frontend and backend around a real gateway, over real
//! HTTP on this machine (the worked example of RFC 8693 §2.3). Tests use the toys too.

mod play;
pub mod toys;

use std::path::{Path, PathBuf};

pub use play::{Play, PlayError, Stage, play};

/// The sample realm, as it was when this binary was built.
const FILES: [(&str, &str); 2] = [
    ("cambist.yaml", include_str!("../policies/cambist.yaml")),
    ("main.policy", include_str!("../policies/main.policy")),
];

/// The directory of the sample realm: `./policies` in a checkout, else `./cambist-demo`, written where
/// it is not there yet.
///
/// # Errors
/// When the copy cannot be written.
pub fn directory() -> std::io::Result<PathBuf> {
    let checkout = Path::new("policies");
    if checkout.join(crate::config::ROOT).is_file() {
        return Ok(checkout.to_owned());
    }
    let copy = PathBuf::from("cambist-demo");
    std::fs::create_dir_all(&copy)?;
    for (name, text) in FILES {
        let path = copy.join(name);
        if !path.exists() {
            std::fs::write(path, text)?;
        }
    }
    Ok(copy)
}
