//! A real terminal: a shell in tmux, on a server of its own.

use std::process::{Command, Stdio};

use super::scene::Scene;
use super::wait::eventually;

/// An interactive bash on a terminal of 80 by 24, with job control.
pub(crate) struct Terminal<'a> {
    scene: &'a Scene,
}

/// What its shell prints when it waits for a command.
const PROMPT: &str = "READY>";

impl Terminal<'_> {
    /// Opens a terminal, and waits for its shell.
    #[track_caller]
    pub(crate) fn open(scene: &Scene) -> Terminal<'_> {
        let terminal = Terminal { scene };
        std::fs::write(scene.path("bashrc"), format!("PS1='{PROMPT} '\nbind 'set enable-bracketed-paste off'\n"))
            .unwrap();
        let shell = format!("exec bash --rcfile {}", scene.name("bashrc"));
        let made = terminal
            .tmux(&["-f", "/dev/null", "new-session", "-d", "-s", "test", "-x", "80", "-y", "24", &shell])
            .env("LANG", "C.UTF-8")
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        terminal.wait_prompt();
        terminal
    }

    /// Types a line into the shell, or whoever has the terminal.
    #[track_caller]
    pub(crate) fn type_line(&self, line: &str) {
        self.done(&["send-keys", "-t", "test", "-l", line]);
        self.key("Enter");
    }

    /// Clears the screen, then types a line: what is seen later came after. The shell must be at its prompt.
    #[track_caller]
    pub(crate) fn enter(&self, line: &str) {
        self.wait_prompt();
        // By its line editor, which leaves `$?` alone.
        self.key("C-l");
        self.wait("a clear screen", |screen| screen.trim() == PROMPT);
        self.type_line(line);
    }

    /// Presses a key by tmux's name for it: `C-c`, `C-z`, `Escape`.
    #[track_caller]
    pub(crate) fn key(&self, name: &str) {
        self.done(&["send-keys", "-t", "test", name]);
    }

    /// Makes the window another size.
    #[track_caller]
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.done(&["resize-window", "-t", "test", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What is to be seen.
    pub(crate) fn screen(&self) -> String {
        let shown = self.tmux(&["capture-pane", "-p", "-t", "test"]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).trim_end().to_owned()
    }

    /// Waits until a line on the screen is this text, alone.
    #[track_caller]
    pub(crate) fn wait_line(&self, text: &str) {
        self.wait(&format!("the line {text:?}"), |screen| screen.lines().any(|line| line.trim_end() == text));
    }

    /// Waits until the screen has this text anywhere.
    #[track_caller]
    pub(crate) fn wait_text(&self, text: &str) {
        self.wait(&format!("{text:?}"), |screen| screen.contains(text));
    }

    /// Waits until the last line is the shell's prompt, and nothing else.
    #[track_caller]
    pub(crate) fn wait_prompt(&self) {
        self.wait("the prompt", |screen| screen.lines().last().is_some_and(|line| line.trim_end() == PROMPT));
    }

    /// Waits until `holds` of the screen; shows it if it never does.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let mut screen = String::new();
        let began = std::time::Instant::now();
        eventually(what, || {
            screen = self.screen();
            // Said a little before `eventually` gives up, which can't show a screen.
            assert!(began.elapsed() < super::wait::PATIENCE * 9 / 10, "waited for {what} on the screen:\n{screen}");
            holds(&screen).then_some(())
        });
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) {
        assert!(self.tmux(arguments).status().unwrap().success(), "tmux {arguments:?}");
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = self.scene.program("tmux");
        command.env_remove("TMUX").arg("-S").arg(self.scene.path("tmux")).args(arguments);
        command.stderr(Stdio::null());
        command
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        // What it doesn't end, the scene ends by its mark.
        let _ = self.tmux(&["kill-server"]).status();
    }
}
