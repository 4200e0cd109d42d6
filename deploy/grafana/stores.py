"""Redis, Postgres and the journal between them."""

from deploy.grafana.panels import Dashboard, Kind, Panel, Query, stat

STORES = Dashboard(
    "quota-stores",
    "Quota: stores",
    "Do Redis and Postgres keep up, and do they agree?",
    by_exam=False,
    panels=(
        stat(
            "Stores that answer",
            "1 when every process reaches the store.",
            "none",
            Query("min by (store) (quota_store_up)", "{{store}}"),
            width=6,
        ),
        stat(
            "Exams fenced",
            "Exams answered `not-ready` until a worker has recovered their shard.",
            "none",
            Query("sum(max by (exam) (quota_shards_fenced))", "exams"),
            red_above=0,
            width=6,
        ),
        stat(
            "Differences found",
            "By the last audit of each exam, between what is promised and what the stores have.",
            "none",
            Query("sum(max by (exam, promise) (quota_audit_differences))", "differences"),
            red_above=0,
            width=6,
        ),
        stat(
            "Journal entries in quarantine",
            "A person has to look at the table `journal_quarantine`.",
            "none",
            Query("sum(quota_journal_quarantined_entries)", "entries"),
            red_above=0,
            width=6,
        ),
        Panel(
            "How long does Redis take",
            "p99 of the batch that contained a call of the script; the eight slowest.",
            Kind.LINES,
            "s",
            (
                Query(
                    "topk(8, histogram_quantile(0.99, "
                    "sum by (script, le) (rate(quota_redis_script_duration_seconds_bucket[1m]))))",
                    "{{script}}",
                ),
            ),
        ),
        Panel(
            "What is Redis asked",
            "Calls a second by script.",
            Kind.AREAS,
            "ops",
            (
                Query(
                    "sum by (script) (rate(quota_redis_script_duration_seconds_count[1m])) > 0",
                    "{{script}}",
                ),
            ),
        ),
        Panel(
            "How long is the wait for Postgres",
            "Time to get a connection from the pool of a process.",
            Kind.LINES,
            "s",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, "
                    "sum by (le) (rate(quota_postgres_pool_wait_seconds_bucket[1m])))",
                    name,
                )
                for quantile, name in ((0.5, "p50"), (0.99, "p99"))
            ),
        ),
        Panel(
            "How many payments share a commit",
            "Transactions a second, and what one records.",
            Kind.LINES,
            "ops",
            (
                Query("sum(rate(quota_group_commit_size_count[1m]))", "commits"),
                Query(
                    "sum(rate(quota_group_commit_size_sum[1m]))"
                    " / (sum(rate(quota_group_commit_size_count[1m])) > 0)",
                    "size",
                    unit="none",
                ),
            ),
        ),
        Panel(
            "How far is the journal behind",
            "Entries not in Postgres yet, and the age of the oldest.",
            Kind.LINES,
            "none",
            (
                Query("sum by (exam) (quota_journal_lag_entries)", "{{exam}}"),
                Query("max(quota_journal_lag_oldest_seconds)", "oldest", unit="s"),
            ),
        ),
        Panel(
            "How fast is the journal drained",
            "Entries a second that workers store in Postgres.",
            Kind.LINES,
            "cps",
            (Query("sum by (exam) (rate(quota_journal_entries_drained_total[1m]))", "{{exam}}"),),
        ),
        Panel(
            "What was recovered",
            "Since the workers started: shards opened unchanged (`reopened`), brought level with "
            "Postgres (`reconciled`) or written as a whole (`rebuilt`).",
            Kind.AREAS,
            "none",
            (
                Query(
                    "sum by (way) (quota_shard_recoveries_total)",
                    "{{way}}",
                    waits_for="a Redis that was restarted, replaced or emptied",
                ),
                Query(
                    "sum(quota_rebuilds_total)",
                    "rebuilds",
                    waits_for="a Redis that was emptied",
                ),
                Query(
                    "sum(quota_journal_entries_missing_total) > 0",
                    "entries missing",
                    waits_for="a Postgres or Redis that lost a part of the journal",
                ),
            ),
        ),
        Panel(
            "Which workers fail",
            "Rounds a second that ended in an error, by worker.",
            Kind.LINES,
            "ops",
            (
                Query(
                    "sum by (worker) (rate(quota_worker_failures_total[1m])) > 0",
                    "{{worker}}",
                    waits_for="a store that does not answer a worker",
                ),
            ),
        ),
    ),
)
