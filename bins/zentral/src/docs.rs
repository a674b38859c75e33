//! `zentral man` and `zentral completions`: printed from the same words as `--help`.

use clap::CommandFactory as _;
use pipe::{Exit, StageError};

use crate::Cli;

/// Command line of `completions`.
#[derive(Debug, Clone, clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// The manual page: the command and, after it, each of its subcommands.
pub fn man() -> Exit {
    let mut page = Vec::new();
    let made = render("zentral", &Cli::command(), &mut page).map_err(|e| StageError::state(e.to_string()));
    crate::finish(made.and_then(|()| pipe::write_stdout(&page).map_err(crate::stdout_error)).map(|()| Exit::Done))
}

fn render(name: &str, command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    // Each subcommand's page calls itself by its whole name.
    let own = command.clone().name(name.to_owned()).display_name(name.to_owned()).disable_help_subcommand(true);
    clap_mangen::Man::new(own).title(name.to_owned()).render(page)?;
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
        render(&format!("{name}-{}", sub.get_name()), sub, page)?;
    }
    Ok(())
}

/// Completions for a shell.
pub fn completions(args: &CompletionsArgs) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "zentral", &mut text);
    crate::finish(pipe::write_stdout(&text).map_err(crate::stdout_error).map(|()| Exit::Done))
}
