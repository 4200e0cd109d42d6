"""The screen for noon."""

from deploy.grafana.panels import COLUMNS, Dashboard, Kind, Panel, Query, stat, times

REPLAYS = "held|replayed|released"
"""Outcomes of a reservation request that are no refusals."""

REFUSED = f'exam_outcome:quota_reservations:rate1m{{exam=~"$exam", outcome!~"{REPLAYS}"}}'

WAIT = (
    'sum(quota_waiting_room_waiting{exam=~"$exam"})'
    ' / (sum(quota_waiting_room_rate{exam=~"$exam"}) > 0)'
)
"""How long who joins now will wait, seconds; no answer while admission is paused."""

OPENING = Dashboard(
    "quota-opening",
    "Quota: the opening",
    "Is the opening going well: who comes, who gets in, who gets a seat, and who is refused?",
    by_exam=True,
    panels=(
        stat(
            "Seats left",
            "Seats that can be reserved now.",
            "none",
            Query('sum(quota_seats_remaining{exam=~"$exam"})', "left"),
        ),
        stat(
            "Seats held",
            "Seats in holds that are not paid yet.",
            "none",
            Query('sum(quota_seats_held{exam=~"$exam"})', "held"),
        ),
        stat(
            "Seats booked",
            "Seats that are paid for.",
            "none",
            Query('sum(quota_seats_confirmed{exam=~"$exam"})', "booked"),
        ),
        stat(
            "Candidates waiting",
            "In the queue of the waiting room, estimated.",
            "none",
            Query('sum(quota_waiting_room_waiting{exam=~"$exam"})', "waiting"),
        ),
        stat(
            "Wait of who joins now",
            "Candidates waiting divided by the rate of admission.",
            "s",
            Query(WAIT, "ETA"),
        ),
        stat(
            "Requests that fail",
            "Share of answers 5xx in 5 minutes, without refusals for overload.",
            "percentunit",
            Query("service:quota_failures:ratio_5m", "failing"),
            red_above=0.001,
        ),
        Panel(
            "Who arrives, is admitted, and reserves",
            "Candidates a second.",
            Kind.LINES,
            "cps",
            (
                Query('sum(rate(quota_waiting_room_joins_total{exam=~"$exam"}[1m]))', "arrivals"),
                Query(
                    'sum(rate(quota_waiting_room_admitted_total{exam=~"$exam"}[1m]))', "admitted"
                ),
                Query(
                    'sum(exam_outcome:quota_reservations:rate1m{exam=~"$exam", outcome="held"})',
                    "reserved",
                ),
            ),
        ),
        Panel(
            "Who is refused, and why",
            "Requests to reserve a second by the slug of their refusal; an opening ends in "
            "`sold-out`. `overloaded` counts requests of every kind.",
            Kind.AREAS,
            "reqps",
            (
                Query(f"sum by (outcome) ({REFUSED})", "{{outcome}}"),
                Query("service:quota_refused_for_overload:rate1m", "overloaded"),
            ),
        ),
        Panel(
            "How long is the queue",
            "Candidates waiting, those with a place, and the wait of who joins now.",
            Kind.LINES,
            "none",
            (
                Query('sum(quota_waiting_room_waiting{exam=~"$exam"})', "waiting"),
                Query('sum(quota_waiting_room_places{exam=~"$exam"})', "with a place"),
                Query(WAIT, "ETA", unit="s"),
            ),
        ),
        times(
            "How fast is the service",
            "Time to answer: to reserve, and to take a payment.",
            ("/v1/exams/{exam}/reservations", "reserve"),
            ("/v1/payment-callbacks", "payment"),
        ),
        Panel(
            "Where are seats left",
            "Share of each quota's seats that can be reserved now.",
            Kind.MATRIX,
            "percentunit",
            (
                Query(
                    'sum by (venue, subject) (quota_seats_remaining{exam=~"$exam"}) '
                    '/ (sum by (venue, subject) (quota_seats_capacity{exam=~"$exam"}) > 0)',
                    "{{venue}} {{subject}}",
                ),
            ),
            COLUMNS,
            12,
            ("venue", "subject"),
        ),
    ),
)
