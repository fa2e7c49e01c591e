//! A private PostgreSQL and a private nats-server.

mod nats;
mod postgres;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::unistd::User;

pub use nats::Nats;
pub use postgres::{Durability, Postgres};

/// Who runs the servers, and where they keep their data.
pub struct Home {
    user: Option<User>,
    directory: PathBuf,
}

impl Home {
    /// Servers do not run as root: PostgreSQL refuses to. When root asks, they
    /// run as `postgres` or `nobody`; and where that user can't reach `wanted`
    /// (below /root, say), their data is kept in /var/lib/edd-cloud-auth.
    ///
    /// # Errors
    ///
    /// When no directory can be made.
    pub fn new(wanted: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(wanted).with_context(|| format!("can't make {}", wanted.display()))?;
        let wanted = wanted.canonicalize()?;
        if !nix::unistd::geteuid().is_root() {
            return Ok(Self { user: None, directory: wanted });
        }
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .context("there is no user `postgres` or `nobody` to run PostgreSQL as")?;
        let mut home = Self { user: Some(user), directory: wanted.clone() };
        if !home.is_reachable() {
            let name = wanted.to_string_lossy().trim_start_matches('/').replace('/', "-");
            home.directory = Path::new("/var/lib/edd-cloud-auth").join(name);
            fs::create_dir_all(&home.directory)
                .with_context(|| format!("can't make {}", home.directory.display()))?;
        }
        Ok(home)
    }

    /// Where data is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn is_reachable(&self) -> bool {
        let mut test = self.command(Path::new("test"));
        test.arg("-x").arg(&self.directory).current_dir("/").stderr(Stdio::null());
        test.status().is_ok_and(|status| status.success())
    }

    /// A command that runs as the user, in a directory that the user can be in.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw()).env("HOME", &self.directory);
            command.current_dir("/");
        }
        command
    }

    /// A directory of the user's, which nobody else can look into.
    fn private_directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        self.give(&directory)?;
        Ok(directory)
    }

    /// Writes a file of the user's, which nobody else can read.
    fn write(&self, file: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(file, text)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        Ok(self.give(file)?)
    }

    /// Makes the user the owner of a file.
    fn give(&self, path: &Path) -> std::io::Result<()> {
        match &self.user {
            Some(user) => chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())),
            None => Ok(()),
        }
    }
}

/// What a server shows its clients, in PEM form.
pub struct Certificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The authority of the certificates that clients have to show, if they have to
    /// show one. For nats-server.
    pub clients: Option<String>,
}

impl Certificate {
    /// Writes certificate and key into a directory, for the user who runs the server.
    /// Returns the names of the files.
    fn write(&self, home: &Home, directory: &Path) -> anyhow::Result<[PathBuf; 2]> {
        let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
        home.write(&certificate, &self.certificate)?;
        home.write(&key, &self.key)?;
        Ok([certificate, key])
    }
}

/// A secret that is made up once and kept in a file that only its owner reads.
///
/// # Errors
///
/// When the file can't be read or written.
pub fn kept_secret(file: &Path) -> anyhow::Result<String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Ok(secret) = fs::read_to_string(file) {
        return Ok(secret.trim().to_owned());
    }
    let alphabet: Vec<char> = ('0'..='9').chain('A'..='Z').chain('a'..='z').collect();
    let secret = nanoid::nanoid!(40, &alphabet);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| writeln!(file, "{secret}"))
        .with_context(|| format!("can't write {}", file.display()))?;
    Ok(secret)
}

/// A port that stays the same from start to start, unless somebody takes it.
fn kept_port(file: &Path) -> anyhow::Result<u16> {
    let kept = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    if let Some(port) = kept
        && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok()
    {
        return Ok(port);
    }
    let port = crate::process::free_port()?;
    fs::write(file, format!("{port}\n"))?;
    Ok(port)
}
