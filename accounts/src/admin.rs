//! What an operator does at the command line: make an admin, have another key sign.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use bazaar_rpc::Timestamp;
use bazaar_rpc::accounts::{Email, Password, Role, StudentId, User, UserName};

use crate::app::KEYS_DIR;
use crate::config::{Database, Place};
use crate::keys::KeyFiles;
use crate::store::{Entry, Patience, Store};
use crate::{passwords, private};

/// The most of a password's file that is read, in bytes.
const MAX_FILE: u64 = 4096;

/// The admin to make. The password is asked for at the terminal, or read from a file: a command line
/// is for everybody on the machine to see.
#[derive(Clone, Debug, clap::Args)]
pub struct CreateAdmin {
    /// The name to log in with.
    #[arg(long, value_name = "NAME")]
    pub user_name: UserName,

    /// The email address.
    #[arg(long, value_name = "ADDRESS")]
    pub email: Email,

    /// The student id, or the number of whoever it is in place of one.
    #[arg(long, value_name = "DIGITS")]
    pub student_id: StudentId,

    /// The file whose first line is the password; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// Where the accounts are.
    #[command(flatten)]
    pub place: Place,

    /// Which database.
    #[command(flatten)]
    pub database: Database,
}

impl CreateAdmin {
    /// Enters the admin; the service may be running.
    ///
    /// # Errors
    /// Says what was wrong: with the password, the database, or that somebody has the name already.
    pub fn execute(&self) -> anyhow::Result<User> {
        let password = match &self.password_file {
            Some(file) => read_password(file)?,
            None => ask_password()?,
        };
        let password_hash = passwords::hash(password.secret().expose().as_bytes())
            .context("could not hash the password")?;
        let entry = Entry {
            student_id: self.student_id.clone(),
            user_name: self.user_name.clone(),
            email: self.email.clone(),
            password_hash,
            role: Role::Admin,
        };
        let dir = &self.place.data_dir;
        if self.database.url.is_none() {
            private::open_dir(dir).with_context(|| dir.display().to_string())?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let store = Store::new(self.database.url.as_ref(), dir, Patience::COMMAND)
                .context("--database")?;
            store.migrate().await?;
            let user = store.insert(&entry, Timestamp::now()).await?;
            store.close().await;
            Ok(user)
        })
    }
}

/// Has another key sign.
#[derive(Clone, Debug, clap::Args)]
pub struct RotateKey {
    /// Where the keys are.
    #[command(flatten)]
    pub place: Place,
}

impl RotateKey {
    /// Makes a key, which a running service takes in by itself; returns its id.
    ///
    /// # Errors
    /// When the directory is none of an accounts service, or cannot be written to.
    pub fn execute(&self) -> anyhow::Result<String> {
        let dir = self.place.data_dir.join(KEYS_DIR);
        ensure!(dir.is_dir(), "{}: there are no keys", dir.display());
        let key = KeyFiles::open(&dir)?.create(Timestamp::now())?;
        Ok(key.kid().to_owned())
    }
}

fn read_password(file: &Path) -> anyhow::Result<Password> {
    let line = if file == Path::new("-") {
        first_line(io::stdin().lock())
    } else {
        File::open(file).and_then(|file| first_line(BufReader::new(file)))
    };
    let line = line.with_context(|| file.display().to_string())?;
    Password::try_from(line).with_context(|| file.display().to_string())
}

fn first_line(source: impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    source.take(MAX_FILE).read_line(&mut line)?;
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    Ok(line)
}

fn ask_password() -> anyhow::Result<Password> {
    let ask = |prompt| {
        let asked = rpassword::prompt_password(prompt);
        asked.context("no terminal to ask for a password at; --password-file reads one from a file")
    };
    let password = ask("Password: ")?;
    let again = ask("Once more: ")?;
    ensure!(password == again, "the two passwords differ");
    Ok(Password::try_from(password)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line() {
        for text in ["open sesame", "open sesame\n", "open sesame\r\nmore\n"] {
            assert_eq!(first_line(text.as_bytes()).unwrap(), "open sesame");
        }
        assert_eq!(first_line(&b""[..]).unwrap(), "");
        assert_eq!(first_line(&[b'x'; 10_000][..]).unwrap().len(), 4096);
    }
}
