use dflow_common::{Code, Severity};

use super::*;
use crate::cdc::error::LOG_OFF;
use crate::cdc::options::tests::read;

fn server(is_mariadb: bool, version: &str, has_gtid: bool) -> ServerInfo {
    ServerInfo {
        is_mariadb,
        version: version.into(),
        uuid: None,
        has_gtid,
        max_allowed_packet: 1 << 26,
        account: "`u`@`%`".into(),
    }
}

fn facts(server: ServerInfo, variables: &[(&str, &str)], replicas: &[u32]) -> Facts {
    Facts {
        server,
        variables: variables.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        replicas: replicas.iter().map(|id| Replica { server_id: *id }).collect(),
    }
}

/// Codes with their severity, and all that is advised.
fn told(facts: &Facts, options: &[(&str, &str)]) -> (Vec<(Code, Severity)>, Vec<String>) {
    let endpoint = Endpoint::new("h", 3306);
    let found = facts.problems(&endpoint, &read(options).unwrap());
    (found.iter().map(|d| (d.code, d.severity)).collect(), found.into_iter().flat_map(|d| d.help).collect())
}

const GOOD: [(&str, &str); 4] =
    [("log_bin", "ON"), ("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("binlog_row_value_options", "")];

#[tokio::test]
async fn server_that_has_everything_is_told_nothing() {
    let (codes, _) = told(&facts(server(false, "8.0.15", true), &GOOD, &[]), &[]);
    assert!(codes.is_empty(), "{codes:?}");
    // MariaDB 10.0 has neither of the last two, and logs whole rows.
    let (codes, _) = told(&facts(server(true, "10.0.1-MariaDB", true), &GOOD[..2], &[]), &[]);
    assert!(codes.is_empty(), "{codes:?}");
}

#[tokio::test]
async fn all_that_is_switched_wrongly_is_told_with_the_statement_of_this_server() {
    let wrong = [
        ("log_bin", "ON"),
        ("binlog_format", "MIXED"),
        ("binlog_row_image", "NOBLOB"),
        ("binlog_row_value_options", "PARTIAL_JSON"),
    ];
    let (codes, help) = told(&facts(server(false, "8.0.15", true), &wrong, &[]), &[]);
    assert!(codes.iter().all(|(_, severity)| *severity == Severity::Error), "{codes:?}");
    assert_eq!(codes.iter().map(|c| c.0).collect::<Vec<_>>(), [LOG_FORMAT.code, ROW_IMAGE.code, PARTIAL_JSON.code]);
    assert_eq!(help[0], "SET PERSIST binlog_format = 'ROW'");
    assert_eq!(help[2], "SET PERSIST binlog_row_value_options = ''");
    let (_, help) = told(&facts(server(true, "10.11.18-MariaDB", true), &wrong[..3], &[]), &[]);
    assert_eq!(help, ["SET GLOBAL binlog_format = 'ROW'", "SET GLOBAL binlog_row_image = 'FULL'"]);
    let (_, help) = told(&facts(server(false, "5.7.40-log", true), &wrong[..2], &[]), &[]);
    assert_eq!(help, ["SET GLOBAL binlog_format = 'ROW'"]);
    let (codes, _) = told(&facts(server(false, "8.0.15", false), &[("log_bin", "OFF")], &[]), &[]);
    assert_eq!(codes, [(LOG_OFF.code, Severity::Error)], "without a log nothing else matters");
}

#[tokio::test]
async fn ids_are_needed_only_where_the_script_names_some() {
    let facts = facts(server(false, "8.0.15", false), &GOOD, &[]);
    let (codes, help) = told(&facts, &[]);
    assert_eq!(codes, [(NO_GTID.code, Severity::Warning)]);
    assert_eq!(help.last().map(String::as_str), Some("SET PERSIST gtid_mode = ON"));
    let set = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
    let by_set = [("scan.startup.mode", "specific-offset"), ("scan.startup.specific-offset.gtid-set", set)];
    assert_eq!(told(&facts, &by_set).0, [(NO_GTID.code, Severity::Error)]);
}

#[tokio::test]
async fn log_that_is_gone_within_a_day_is_told() {
    let kept = |name: &'static str, value: &'static str| {
        let mut variables = GOOD.to_vec();
        variables.push((name, value));
        told(&facts(server(false, "8.0.15", true), &variables, &[]), &[])
    };
    assert!(kept("binlog_expire_logs_seconds", "0").0.is_empty(), "kept for ever");
    assert!(kept("binlog_expire_logs_seconds", "86400").0.is_empty());
    assert!(kept("expire_logs_days", "1").0.is_empty());
    let (codes, help) = kept("binlog_expire_logs_seconds", "86399");
    assert_eq!(codes, [(LOG_KEPT_SHORTLY.code, Severity::Warning)]);
    assert_eq!(help, ["SET PERSIST binlog_expire_logs_seconds = 604800"]);
    assert_eq!(kept("expire_logs_days", "0.5").1, ["SET PERSIST expire_logs_days = 7"]);
}

#[tokio::test]
async fn number_of_another_reader_is_told_with_a_free_one() {
    let mut variables = GOOD.to_vec();
    variables.push(("server_id", "1"));
    let facts = facts(server(false, "8.0.15", true), &variables, &[5_400, 5_401]);
    assert!(told(&facts, &[("server-id", "5402-5403")]).0.is_empty());
    assert!(told(&facts, &[]).0.is_empty(), "one is taken by chance");
    let (codes, help) = told(&facts, &[("server-id", "5399-5402")]);
    assert_eq!(codes, [(SERVER_ID_TAKEN.code, Severity::Warning)]);
    assert_eq!(help, ["write 'server-id' = '5403'"]);
    assert_eq!(told(&facts, &[("server-id", "1")]).1, ["write 'server-id' = '5402'"]);
}

#[tokio::test]
async fn log_that_does_not_name_columns_is_told() {
    let of = |value: &'static str| {
        let mut variables = GOOD.to_vec();
        variables.push(("binlog_row_metadata", value));
        told(&facts(server(true, "10.11.18-MariaDB", true), &variables, &[]), &[])
    };
    let help = vec!["SET GLOBAL binlog_row_metadata = 'FULL'".to_owned()];
    assert_eq!(of("NO_LOG"), (vec![(LOG_WITHOUT_NAMES.code, Severity::Warning)], help));
    assert!(of("FULL").0.is_empty());
}
