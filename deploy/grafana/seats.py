"""The seats of an exam."""

from deploy.grafana.panels import COLUMNS, Dashboard, Kind, Panel, Query

SEATS = Dashboard(
    "quota-seats",
    "Quota: seats",
    "Where are an exam's seats: left, held, being paid, booked?",
    by_exam=True,
    panels=(
        Panel(
            "In which state are the seats",
            "Their sum is the capacity.",
            Kind.AREAS,
            "none",
            tuple(
                Query(f'sum(quota_seats_{counter}{{exam=~"$exam"}})', counter)
                for counter in ("confirmed", "confirming", "held", "remaining")
            ),
        ),
        Panel(
            "Which subjects have seats left",
            "Seats that can be reserved now, by subject.",
            Kind.LINES,
            "none",
            (Query('sum by (subject) (quota_seats_remaining{exam=~"$exam"})', "{{subject}}"),),
        ),
        Panel(
            "Which venues have seats",
            "By venue, now. Beyond QUOTA_METRICS_QUOTAS_MAX quotas they are `other`.",
            Kind.TABLE,
            "none",
            tuple(
                Query(f'sum by (venue) (quota_seats_{counter}{{exam=~"$exam"}})', counter)
                for counter in ("capacity", "remaining", "held", "confirming", "confirmed")
            ),
            COLUMNS,
            10,
            ("venue",),
        ),
        Panel(
            "How do unpaid holds end",
            "Holds a second that ended without a booking, by their end.",
            Kind.AREAS,
            "ops",
            (
                Query(
                    'sum by (end) (rate(quota_holds_ended_unpaid_total{exam=~"$exam"}[1m]))',
                    "{{end}}",
                ),
            ),
        ),
        Panel(
            "Are seats hoarded",
            "Seats held for each one booked: high when many hold and few pay. Live holds beside.",
            Kind.LINES,
            "none",
            (
                Query(
                    'max by (exam) (quota_seats_held_per_confirmed{exam=~"$exam"})',
                    "{{exam}}: held per booked",
                ),
                Query(
                    'sum by (exam) (quota_holds_live{exam=~"$exam"})',
                    "{{exam}}: live holds",
                    unit="short",
                ),
            ),
        ),
        Panel(
            "Do holds expire in time",
            "Time since the deadline of the oldest overdue hold. Over 5 s alerts.",
            Kind.LINES,
            "s",
            (Query('max by (exam) (quota_expiry_lag_oldest_seconds{exam=~"$exam"})', "{{exam}}"),),
        ),
        Panel(
            "How many turns are used",
            "Claims of a place a second, by outcome.",
            Kind.AREAS,
            "cps",
            (
                Query(
                    'sum by (outcome) (rate(quota_waiting_room_claims_total{exam=~"$exam"}[1m]))',
                    "{{outcome}}",
                ),
            ),
        ),
    ),
)
