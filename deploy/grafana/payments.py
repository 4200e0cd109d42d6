"""Payments from their callback to their end."""

from deploy.grafana.panels import Dashboard, Kind, Panel, Query, stat, times

PAYMENTS = Dashboard(
    "quota-payments",
    "Quota: payments",
    "Does every payment end as a booking or as a refund due, and how soon?",
    by_exam=False,
    panels=(
        stat(
            "Oldest unfinished payment",
            "Age of the oldest payment that one of the stores lacks. Over 60 s alerts.",
            "s",
            Query("max(quota_confirmations_pending_oldest_seconds)", "age"),
            width=6,
            red_above=60,
        ),
        stat(
            "Unfinished payments",
            "Payments that one of the two stores lacks.",
            "none",
            Query("sum(quota_confirmations_pending)", "payments"),
            width=6,
        ),
        stat(
            "Refunds due",
            "Payments that have to go back and are not settled: `GET /v1/refunds-due` lists them.",
            "none",
            Query("sum(quota_refunds_due)", "refunds"),
            width=6,
        ),
        stat(
            "Unreadable events",
            "Signed payment events that could not be parsed. A person has to look at each.",
            "none",
            Query("sum(quota_payment_events_unreadable_total)", "events"),
            width=6,
            red_above=0,
        ),
        Panel(
            "How do payments end",
            "Payment events a second by outcome; `repeated` had an outcome before.",
            Kind.AREAS,
            "eps",
            (Query("sum by (outcome) (rate(quota_confirmations_total[1m]))", "{{outcome}}"),),
        ),
        Panel(
            "How old is the oldest unfinished payment",
            "By exam; grows while no worker runs or Postgres is away.",
            Kind.LINES,
            "s",
            (Query("max by (exam) (quota_confirmations_pending_oldest_seconds)", "{{exam}}"),),
        ),
        Panel(
            "Why is money due back",
            "Payments that ended as a refund due since the API processes started, by reason.",
            Kind.AREAS,
            "none",
            (
                Query(
                    'sum by (reason) (quota_confirmations_total{outcome="refund_due"})',
                    "{{reason}}",
                ),
            ),
        ),
        times(
            "How fast are callbacks answered",
            "Time to answer a callback of the payment provider.",
            ("/v1/payment-callbacks", "callback"),
        ),
        Panel(
            "What was finished for dead processes",
            "Payments and changes of venue that workers took over since they started, by result.",
            Kind.AREAS,
            "none",
            (
                Query(
                    "sum by (result) (quota_recoveries_total) > 0",
                    "{{result}}",
                    waits_for="a process that died while it recorded a payment",
                ),
            ),
        ),
        Panel(
            "How many bookings are given back",
            "Refunds and changes of venue a second.",
            Kind.LINES,
            "ops",
            (
                Query("sum(rate(quota_refunds_total[1m]))", "refunds"),
                Query("sum(rate(quota_venue_changes_total[1m]))", "changes of venue"),
            ),
        ),
    ),
)
