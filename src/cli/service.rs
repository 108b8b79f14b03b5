//! Commands that run the daemon and keep it well.

pub mod backup;
pub mod doctor;
pub mod reload;
pub mod run;
pub mod stale;

use super::command::command_group;

command_group! {
    ServiceCommand {
        Run(run::RunOptions),
        Reload(reload::ReloadOptions),
        Doctor(doctor::DoctorOptions),
        Stale(stale::StaleOptions),
        Backup(backup::BackupOptions),
    }
}
