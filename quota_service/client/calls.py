"""A method for each call of the service.

Made by `python -m tests.support.client_code`, and as long as its tables.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

from quota_service.client.call import (
    Answer,
    Call,
    CallSender,
    given,
    new_idempotency_key,
    quoted,
    with_query,
)
from quota_service.client.documents import (
    Archived,
    Audit,
    Availability,
    CandidateToken,
    CandidateView,
    Code,
    Codes,
    EntryProof,
    Exam,
    ExamList,
    ExamLoad,
    ExtendedHolds,
    Finished,
    FoundReservations,
    Health,
    ImportResult,
    ListedEntry,
    MadeCodes,
    MovedOut,
    Operations,
    OpsActions,
    Pass,
    PausedExam,
    PaymentResult,
    ProblemMeaning,
    QuietHoursTable,
    RefundDue,
    RefundsDue,
    Reservation,
    ResumedExam,
    RevokedCandidateTokens,
    SeatRelease,
    SeatReleases,
    SetAsides,
    SteeredRoom,
    Ticket,
    UnreadablePayment,
    UnreadablePayments,
    VenueSale,
    WaitingList,
    WaitingListEntry,
    WaitingListPage,
    WaitingRoom,
    WebhookDeliveries,
    WebhookEndpoint,
    WebhookEndpoints,
    WebhookReplay,
    WebhookSecret,
)


class Calls(CallSender):
    """The calls, with their refusals beside those that any call can have.

    A call with an `idempotency_key` makes one where none is given, which only its own repeats have:
    give one that you keep where somebody presses the button again after NoAnswer.
    """

    def list_exams(self, *, after: str | None = None, limit: int | None = None) -> Answer[ExamList]:
        """Every exam.

        GET /v1/exams. Refusals: none.
        """
        return self._call(
            Call("GET", with_query("/v1/exams", after=after, limit=limit), is_repeatable=True)
        )

    def get_exam(self, exam: str) -> Answer[Exam]:
        """One exam: windows, sessions, subjects, venues, fee and notice.

        GET /v1/exams/{exam}. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._call(Call("GET", f"/v1/exams/{quoted(exam)}", is_repeatable=True))

    def import_exam(
        self, exam: str, definition: Mapping[str, Any], *, force: bool | None = None
    ) -> Answer[ImportResult]:
        """Import a definition; importing the same again changes nothing.

        PUT /v1/exams/{exam}. Refusals: `definition-refused`, `candidates-waiting`, `exam-archived`.
        """
        return self._call(
            Call(
                "PUT",
                with_query(f"/v1/exams/{quoted(exam)}", force=force),
                document=definition,
                is_repeatable=True,
            )
        )

    def get_availability(
        self, exam: str, *, subjects: Sequence[str] | None = None
    ) -> Answer[Availability]:
        """Seats left at every venue.

        GET /v1/exams/{exam}/availability. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-subject`.
        """
        return self._call(
            Call(
                "GET",
                with_query(f"/v1/exams/{quoted(exam)}/availability", subjects=subjects),
                is_repeatable=True,
            )
        )

    def reserve(
        self,
        exam: str,
        *,
        candidate: str,
        subjects: Sequence[str],
        venues: Sequence[str],
        idempotency_key: str | None = None,
        waiting_room_pass: str | None = None,
        accepted_notice: str | bool | None = None,
        code: str | None = None,
    ) -> Answer[Reservation]:
        """Reserve all subjects at the first venue that has them.

        POST /v1/exams/{exam}/reservations. Refusals: `unknown-exam`, `exam-archived`,
        `idempotency-key-reused`, `sold-out`, `session-conflict`, `too-many-unpaid-holds`,
        `key-share-used`, `registration-not-open`, `registration-closed`, `session-started`,
        `notice-not-accepted`, `unknown-venue`, `venue-closed`, `paused`, `unknown-subject`,
        `same-session-twice`, `national-id-refused`, `waiting-room-pass-required`, `pass-invalid`,
        `pass-expired`, `pass-ended`, `code-invalid`, `code-used`, `set-aside-over`,
        `not-set-aside`, `too-many-wrong-codes`, `reservation-ended`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/reservations",
                document={
                    "candidate": candidate,
                    "subjects": subjects,
                    "venues": venues,
                    **given(accepted_notice=accepted_notice, code=code),
                },
                headers={
                    "Idempotency-Key": idempotency_key or new_idempotency_key(),
                    **given(**{"Waiting-Room-Pass": waiting_room_pass}),
                },
                is_repeatable=True,
            )
        )

    def get_candidate(self, exam: str, candidate: str) -> Answer[CandidateView]:
        """All reservations of a candidate in an exam.

        GET /v1/exams/{exam}/candidates/{candidate}. Refusals: `unknown-exam`, `exam-archived`,
        `national-id-refused`.
        """
        return self._call(
            Call(
                "GET",
                f"/v1/exams/{quoted(exam)}/candidates/{quoted(candidate)}",
                is_repeatable=True,
            )
        )

    def find_reservations(
        self,
        *,
        reservation: str | None = None,
        candidate: str | None = None,
        reference: str | None = None,
        exam: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer[FoundReservations]:
        """Find reservations by id, candidate or payment reference.

        GET /v1/reservations. Refusals: `unknown-exam`, `exam-archived`, `national-id-refused`.
        """
        return self._call(
            Call(
                "GET",
                with_query(
                    "/v1/reservations",
                    reservation=reservation,
                    candidate=candidate,
                    reference=reference,
                    exam=exam,
                    after=after,
                    limit=limit,
                ),
                is_repeatable=True,
            )
        )

    def get_reservation(self, reservation: str) -> Answer[Reservation]:
        """One reservation and its payment.

        GET /v1/reservations/{reservation}. Refusals: `unknown-reservation`, `exam-archived`.
        """
        return self._call(
            Call("GET", f"/v1/reservations/{quoted(reservation)}", is_repeatable=True)
        )

    def release(self, reservation: str) -> Answer[Reservation]:
        """Give a hold back.

        DELETE /v1/reservations/{reservation}. Refusals: `unknown-reservation`, `exam-archived`,
        `already-confirmed`, `payment-in-progress`.
        """
        return self._call(
            Call("DELETE", f"/v1/reservations/{quoted(reservation)}", is_repeatable=True)
        )

    def checkout(self, reservation: str) -> Answer[Reservation]:
        """Payment begins: the deadline moves out once.

        POST /v1/reservations/{reservation}/checkout. Refusals: `unknown-reservation`,
        `exam-archived`, `reservation-ended`, `already-confirmed`.
        """
        return self._call(
            Call("POST", f"/v1/reservations/{quoted(reservation)}/checkout", is_repeatable=True)
        )

    def change_venue(self, reservation: str, *, venue: str) -> Answer[Reservation]:
        """Change the venue of a hold or a booking.

        PUT /v1/reservations/{reservation}/venue. Refusals: `unknown-reservation`, `exam-archived`,
        `unknown-venue`, `venue-closed`, `paused`, `sold-out`, `reservation-ended`,
        `payment-in-progress`, `change-in-progress`, `venue-changes-used`, `key-share-used`,
        `registration-not-open`, `registration-closed`, `session-started`.
        """
        return self._call(
            Call(
                "PUT",
                f"/v1/reservations/{quoted(reservation)}/venue",
                document={"venue": venue},
                is_repeatable=True,
            )
        )

    def refund(self, reservation: str) -> Answer[Reservation]:
        """Refund a booking in full, once for each person and exam.

        POST /v1/reservations/{reservation}/refund. Refusals: `unknown-reservation`,
        `exam-archived`, `not-confirmed`, `reservation-ended`, `refund-used`, `payment-in-progress`,
        `change-in-progress`, `refund-not-open`, `refund-closed`.
        """
        return self._call(
            Call("POST", f"/v1/reservations/{quoted(reservation)}/refund", is_repeatable=True)
        )

    def reserve_for_candidate(
        self,
        exam: str,
        *,
        candidate: str,
        subjects: Sequence[str],
        venues: Sequence[str],
        reason: str,
        idempotency_key: str | None = None,
        accepted_notice: str | bool | None = None,
    ) -> Answer[Reservation]:
        """Reserve for a candidate, also outside of the window.

        POST /v1/exams/{exam}/ops-reservations. Refusals: `unknown-exam`, `exam-archived`,
        `idempotency-key-reused`, `sold-out`, `session-conflict`, `session-started`,
        `notice-not-accepted`, `unknown-venue`, `venue-closed`, `unknown-subject`,
        `same-session-twice`, `national-id-refused`, `reservation-ended`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/ops-reservations",
                document={
                    "candidate": candidate,
                    "subjects": subjects,
                    "venues": venues,
                    "reason": reason,
                    **given(accepted_notice=accepted_notice),
                },
                headers={"Idempotency-Key": idempotency_key or new_idempotency_key()},
                is_repeatable=True,
            )
        )

    def mark_paid(self, reservation: str, *, reason: str, reference: str) -> Answer[PaymentResult]:
        """Mark a reservation as paid by hand.

        POST /v1/reservations/{reservation}/mark-paid. Refusals: `unknown-reservation`,
        `exam-archived`, `already-confirmed`, `reservation-ended`, `payment-in-progress`,
        `event-id-reused`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/reservations/{quoted(reservation)}/mark-paid",
                document={"reason": reason, "reference": reference},
            )
        )

    def release_for_candidate(self, reservation: str, *, reason: str) -> Answer[Reservation]:
        """Give a hold back for its candidate.

        POST /v1/reservations/{reservation}/release. Refusals: `unknown-reservation`,
        `exam-archived`, `already-confirmed`, `payment-in-progress`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/reservations/{quoted(reservation)}/release",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def move_for_candidate(
        self, reservation: str, *, reason: str, venue: str
    ) -> Answer[Reservation]:
        """Change the venue for a candidate, also outside of the window.

        POST /v1/reservations/{reservation}/move. Refusals: `unknown-reservation`, `exam-archived`,
        `unknown-venue`, `venue-closed`, `sold-out`, `reservation-ended`, `payment-in-progress`,
        `change-in-progress`, `registration-closed`, `session-started`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/reservations/{quoted(reservation)}/move",
                document={"reason": reason, "venue": venue},
                is_repeatable=True,
            )
        )

    def refund_for_candidate(self, reservation: str, *, reason: str) -> Answer[Reservation]:
        """Refund a booking for a candidate, also outside of the window.

        POST /v1/reservations/{reservation}/ops-refund. Refusals: `unknown-reservation`,
        `exam-archived`, `not-confirmed`, `reservation-ended`, `payment-in-progress`,
        `change-in-progress`, `refund-closed`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/reservations/{quoted(reservation)}/ops-refund",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def join_waiting_room(self, exam: str, *, candidate: str) -> Answer[Ticket]:
        """Join the waiting room: the draw before the opening, the queue after it.

        POST /v1/exams/{exam}/waiting-room. Refusals: `unknown-exam`, `exam-archived`,
        `national-id-refused`, `waiting-room-off`, `registration-closed`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-room",
                document={"candidate": candidate},
                is_repeatable=True,
            )
        )

    def get_waiting_room(self, exam: str) -> Answer[WaitingRoom]:
        """The public state of the waiting room.

        GET /v1/exams/{exam}/waiting-room. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-room-off`.
        """
        return self._call(Call("GET", f"/v1/exams/{quoted(exam)}/waiting-room", is_repeatable=True))

    def claim_place(self, exam: str, *, candidate: str, ticket: str) -> Answer[Pass]:
        """Claim a place: a ticket at its turn becomes a pass.

        POST /v1/exams/{exam}/waiting-room/claims. Refusals: `unknown-exam`, `exam-archived`,
        `national-id-refused`, `waiting-room-off`, `registration-closed`, `ticket-invalid`,
        `ticket-of-another-exam`, `not-your-turn`, `turn-passed`, `ticket-used`, `paused`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-room/claims",
                document={"candidate": candidate, "ticket": ticket},
                is_repeatable=True,
            )
        )

    def finish_place(self, exam: str, candidate: str) -> Answer[Finished]:
        """The candidate has finished: the place is free.

        DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}. Refusals: `unknown-exam`,
        `exam-archived`, `national-id-refused`, `waiting-room-off`.
        """
        return self._call(
            Call(
                "DELETE",
                f"/v1/exams/{quoted(exam)}/waiting-room/claims/{quoted(candidate)}",
                is_repeatable=True,
            )
        )

    def set_admission_rate(
        self, exam: str, *, rate: float | None, reason: str | None = None
    ) -> Answer[SteeredRoom]:
        """Set the rate of admission, or let it adapt again.

        PUT /v1/exams/{exam}/waiting-room. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-room-off`.
        """
        return self._call(
            Call(
                "PUT",
                with_query(f"/v1/exams/{quoted(exam)}/waiting-room", reason=reason),
                document={"rate": rate},
                is_repeatable=True,
            )
        )

    def pause_admission(self, exam: str, *, reason: str | None = None) -> Answer[SteeredRoom]:
        """Pause admission.

        POST /v1/exams/{exam}/waiting-room/pause. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-room-off`.
        """
        return self._call(
            Call(
                "POST",
                with_query(f"/v1/exams/{quoted(exam)}/waiting-room/pause", reason=reason),
                is_repeatable=True,
            )
        )

    def resume_admission(self, exam: str, *, reason: str | None = None) -> Answer[SteeredRoom]:
        """Resume admission.

        POST /v1/exams/{exam}/waiting-room/resume. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-room-off`.
        """
        return self._call(
            Call(
                "POST",
                with_query(f"/v1/exams/{quoted(exam)}/waiting-room/resume", reason=reason),
                is_repeatable=True,
            )
        )

    def pause_exam(
        self,
        exam: str,
        *,
        reason: str,
        venue: str | None = None,
        subject: str | None = None,
        stops: Literal["reserving", "changes"] | None = None,
        retry_after_s: int | None = None,
    ) -> Answer[PausedExam]:
        """Pause reserving: everywhere, at a venue, in a subject.

        POST /v1/exams/{exam}/pause. Refusals: `unknown-exam`, `exam-archived`, `unknown-venue`,
        `unknown-subject`, `registration-closed`, `already-paused`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/pause",
                document={
                    "reason": reason,
                    **given(venue=venue, subject=subject, stops=stops, retry_after_s=retry_after_s),
                },
            )
        )

    def resume_exam(
        self,
        exam: str,
        *,
        venue: str | None = None,
        subject: str | None = None,
        extend_holds: bool | None = None,
        reason: str | None = None,
    ) -> Answer[ResumedExam]:
        """End a pause.

        POST /v1/exams/{exam}/resume. Refusals: `unknown-exam`, `exam-archived`, `unknown-venue`,
        `unknown-subject`, `not-paused`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/resume",
                document={
                    **given(venue=venue, subject=subject, extend_holds=extend_holds, reason=reason)
                },
                is_long=True,
            )
        )

    def extend_holds(
        self,
        exam: str,
        *,
        seconds: int,
        reason: str,
        idempotency_key: str | None = None,
        venue: str | None = None,
        subject: str | None = None,
        reservation: str | None = None,
    ) -> Answer[ExtendedHolds]:
        """Give live holds more time: all, those of a venue or a subject, or one.

        POST /v1/exams/{exam}/extend-holds. Refusals: `unknown-exam`, `exam-archived`,
        `idempotency-key-reused`, `unknown-venue`, `unknown-subject`, `unknown-reservation`,
        `reservation-ended`, `already-confirmed`, `payment-in-progress`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/extend-holds",
                document={
                    "seconds": seconds,
                    "reason": reason,
                    **given(venue=venue, subject=subject, reservation=reservation),
                },
                headers={"Idempotency-Key": idempotency_key or new_idempotency_key()},
                is_repeatable=True,
                is_long=True,
            )
        )

    def join_waiting_list(
        self,
        exam: str,
        *,
        candidate: str,
        subjects: Sequence[str],
        venues: Sequence[str],
        idempotency_key: str | None = None,
        until: str | None = None,
        quiet_hours: QuietHoursTable | None = None,
    ) -> Answer[WaitingListEntry]:
        """Join the waiting list: wait for seats that are gone.

        POST /v1/exams/{exam}/waiting-list. Refusals: `unknown-exam`, `exam-archived`,
        `idempotency-key-reused`, `waiting-list-off`, `waiting-list-suspended`, `waiting-list-full`,
        `already-listed`, `seats-on-sale`, `session-conflict`, `registration-not-open`,
        `registration-closed`, `session-started`, `until-out-of-range`, `unknown-venue`,
        `venue-closed`, `unknown-subject`, `same-session-twice`, `national-id-refused`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-list",
                document={
                    "candidate": candidate,
                    "subjects": subjects,
                    "venues": venues,
                    **given(until=until, quiet_hours=quiet_hours),
                },
                headers={"Idempotency-Key": idempotency_key or new_idempotency_key()},
                is_repeatable=True,
            )
        )

    def get_waiting_list_entry(self, exam: str, entry: str) -> Answer[ListedEntry]:
        """A place in the waiting list.

        GET /v1/exams/{exam}/waiting-list/{entry}. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-entry`.
        """
        return self._call(
            Call(
                "GET", f"/v1/exams/{quoted(exam)}/waiting-list/{quoted(entry)}", is_repeatable=True
            )
        )

    def leave_waiting_list(self, exam: str, entry: str) -> Answer[ListedEntry]:
        """Leave the waiting list, or give an offer back.

        DELETE /v1/exams/{exam}/waiting-list/{entry}. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-entry`, `already-confirmed`, `payment-in-progress`.
        """
        return self._call(
            Call(
                "DELETE",
                f"/v1/exams/{quoted(exam)}/waiting-list/{quoted(entry)}",
                is_repeatable=True,
            )
        )

    def get_waiting_list(
        self,
        exam: str,
        *,
        state: Literal[
            "waiting", "offered", "served", "missed", "declined", "left", "over", "conflict"
        ]
        | None = None,
        candidate: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer[WaitingListPage]:
        """The waiting list and its entries.

        GET /v1/exams/{exam}/waiting-list. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-list-off`, `national-id-refused`.
        """
        return self._call(
            Call(
                "GET",
                with_query(
                    f"/v1/exams/{quoted(exam)}/waiting-list",
                    state=state,
                    candidate=candidate,
                    after=after,
                    limit=limit,
                ),
                is_repeatable=True,
            )
        )

    def cap_waiting_list(
        self, exam: str, *, reason: str, length_max: int | None
    ) -> Answer[WaitingList]:
        """Set how many entries may wait for one quota.

        PUT /v1/exams/{exam}/waiting-list. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-list-off`.
        """
        return self._call(
            Call(
                "PUT",
                f"/v1/exams/{quoted(exam)}/waiting-list",
                document={"reason": reason, "length_max": length_max},
                is_repeatable=True,
            )
        )

    def pause_waiting_list(self, exam: str, *, reason: str) -> Answer[WaitingList]:
        """Offer no seats.

        POST /v1/exams/{exam}/waiting-list/pause. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-list-off`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-list/pause",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def resume_waiting_list(self, exam: str, *, reason: str) -> Answer[WaitingList]:
        """Offer seats again.

        POST /v1/exams/{exam}/waiting-list/resume. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-list-off`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-list/resume",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def suspend_waiting_list(self, exam: str, *, reason: str) -> Answer[WaitingList]:
        """Let nobody join.

        POST /v1/exams/{exam}/waiting-list/suspend. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-list-off`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-list/suspend",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def reopen_waiting_list(self, exam: str, *, reason: str) -> Answer[WaitingList]:
        """Let candidates join again.

        POST /v1/exams/{exam}/waiting-list/reopen. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-list-off`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-list/reopen",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def prove_entry(self, exam: str, *, ticket: str) -> Answer[EntryProof]:
        """The proof that a ticket is in the draw.

        GET /v1/exams/{exam}/waiting-room/proof. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-room-off`, `source-off`, `entries-open`, `not-in-draw`, `ticket-invalid`,
        `ticket-of-another-exam`.
        """
        return self._call(
            Call(
                "GET",
                with_query(f"/v1/exams/{quoted(exam)}/waiting-room/proof", ticket=ticket),
                is_repeatable=True,
            )
        )

    def put_in_source(self, exam: str, *, evidence: str, reason: str) -> Answer[SteeredRoom]:
        """Put in what the source of the draw has come to.

        POST /v1/exams/{exam}/waiting-room/source. Refusals: `unknown-exam`, `exam-archived`,
        `waiting-room-off`, `source-off`, `entries-open`, `source-not-due`, `source-known`,
        `signature-invalid`, `opened-without-draw`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-room/source",
                document={"evidence": evidence, "reason": reason},
                is_repeatable=True,
            )
        )

    def open_without_draw(self, exam: str, *, reason: str) -> Answer[SteeredRoom]:
        """Open although the source of the draw has not come.

        POST /v1/exams/{exam}/waiting-room/open-without-draw. Refusals: `unknown-exam`,
        `exam-archived`, `waiting-room-off`, `source-off`, `entries-open`, `source-not-due`,
        `source-known`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/waiting-room/open-without-draw",
                document={"reason": reason},
            )
        )

    def list_operations(
        self, exam: str, *, after: str | None = None, limit: int | None = None
    ) -> Answer[Operations]:
        """What ops did in an exam, and what is in force.

        GET /v1/exams/{exam}/operations. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._call(
            Call(
                "GET",
                with_query(f"/v1/exams/{quoted(exam)}/operations", after=after, limit=limit),
                is_repeatable=True,
            )
        )

    def get_exam_load(
        self, exam: str, *, venue: str | None = None, subject: str | None = None
    ) -> Answer[ExamLoad]:
        """What comes, is let in, held, refused and left, second by second.

        GET /v1/exams/{exam}/load. Refusals: `unknown-exam`, `exam-archived`, `unknown-venue`,
        `unknown-subject`.
        """
        return self._call(
            Call(
                "GET",
                with_query(f"/v1/exams/{quoted(exam)}/load", venue=venue, subject=subject),
                is_repeatable=True,
            )
        )

    def list_set_asides(self, exam: str) -> Answer[SetAsides]:
        """Seats that are kept for groups.

        GET /v1/exams/{exam}/set-asides. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._call(Call("GET", f"/v1/exams/{quoted(exam)}/set-asides", is_repeatable=True))

    def list_codes(
        self, exam: str, set_aside: str, *, after: str | None = None, limit: int | None = None
    ) -> Answer[Codes]:
        """The codes of a set-aside, without the codes themselves.

        GET /v1/exams/{exam}/set-asides/{set_aside}/codes. Refusals: `unknown-exam`,
        `exam-archived`, `unknown-set-aside`.
        """
        return self._call(
            Call(
                "GET",
                with_query(
                    f"/v1/exams/{quoted(exam)}/set-asides/{quoted(set_aside)}/codes",
                    after=after,
                    limit=limit,
                ),
                is_repeatable=True,
            )
        )

    def make_codes(
        self,
        exam: str,
        set_aside: str,
        *,
        reason: str,
        count: int | None = None,
        codes: Sequence[str] | None = None,
        hashes: Sequence[str] | None = None,
        uses_max: int | None = None,
        note: str | None = None,
    ) -> Answer[MadeCodes]:
        """Make codes of a set-aside.

        POST /v1/exams/{exam}/set-asides/{set_aside}/codes. Refusals: `unknown-exam`,
        `exam-archived`, `unknown-set-aside`, `set-aside-over`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/set-asides/{quoted(set_aside)}/codes",
                document={
                    "reason": reason,
                    **given(count=count, codes=codes, hashes=hashes, uses_max=uses_max, note=note),
                },
            )
        )

    def revoke_code(self, exam: str, set_aside: str, code: str, *, reason: str) -> Answer[Code]:
        """Revoke a code.

        POST /v1/exams/{exam}/set-asides/{set_aside}/codes/{code}/revoke. Refusals: `unknown-exam`,
        `exam-archived`, `unknown-set-aside`, `unknown-code`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/set-asides/{quoted(set_aside)}/codes/{quoted(code)}/revoke",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def hand_out(
        self,
        exam: str,
        set_aside: str,
        *,
        candidate: str,
        subjects: Sequence[str],
        venues: Sequence[str],
        reason: str,
        idempotency_key: str | None = None,
        accepted_notice: str | bool | None = None,
    ) -> Answer[Reservation]:
        """Reserve from a set-aside for a candidate, without a code.

        POST /v1/exams/{exam}/set-asides/{set_aside}/hand-out. Refusals: `unknown-exam`,
        `exam-archived`, `idempotency-key-reused`, `sold-out`, `session-conflict`,
        `session-started`, `notice-not-accepted`, `unknown-venue`, `venue-closed`,
        `unknown-subject`, `same-session-twice`, `national-id-refused`, `unknown-set-aside`,
        `set-aside-over`, `not-set-aside`, `reservation-ended`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/set-asides/{quoted(set_aside)}/hand-out",
                document={
                    "candidate": candidate,
                    "subjects": subjects,
                    "venues": venues,
                    "reason": reason,
                    **given(accepted_notice=accepted_notice),
                },
                headers={"Idempotency-Key": idempotency_key or new_idempotency_key()},
                is_repeatable=True,
            )
        )

    def close_venue(
        self, exam: str, venue: str, *, reason: str, subjects: Sequence[str] | None = None
    ) -> Answer[VenueSale]:
        """Close a venue for sale.

        POST /v1/exams/{exam}/venues/{venue}/close. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-venue`, `unknown-subject`, `registration-closed`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/venues/{quoted(venue)}/close",
                document={"reason": reason, **given(subjects=subjects)},
                is_repeatable=True,
            )
        )

    def open_venue(
        self, exam: str, venue: str, *, reason: str, subjects: Sequence[str] | None = None
    ) -> Answer[VenueSale]:
        """Open a venue again.

        POST /v1/exams/{exam}/venues/{venue}/open. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-venue`, `unknown-subject`, `registration-closed`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/venues/{quoted(venue)}/open",
                document={"reason": reason, **given(subjects=subjects)},
                is_repeatable=True,
            )
        )

    def move_out(
        self,
        exam: str,
        venue: str,
        *,
        reason: str,
        venues: Sequence[str] | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer[MovedOut]:
        """Move what stands at a closed venue to others.

        POST /v1/exams/{exam}/venues/{venue}/move-out. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-venue`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/venues/{quoted(venue)}/move-out",
                document={"reason": reason, **given(venues=venues, after=after, limit=limit)},
                is_repeatable=True,
                is_long=True,
            )
        )

    def plan_seat_release(
        self,
        exam: str,
        *,
        id: str,
        at: str,
        announce: Literal["time", "time-and-venues", "everything", "nothing"],
        seats: Mapping[str, Mapping[str, int]],
        reason: str,
    ) -> Answer[SeatRelease]:
        """Plan a seat release: more seats at a time.

        POST /v1/exams/{exam}/seat-releases. Refusals: `unknown-exam`, `exam-archived`,
        `release-exists`, `release-past`, `release-too-late`, `too-many-releases`, `too-many-seats`,
        `unknown-venue`, `unknown-subject`, `unknown-quota`, `registration-closed`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/seat-releases",
                document={
                    "id": id,
                    "at": at,
                    "announce": announce,
                    "seats": seats,
                    "reason": reason,
                },
                is_repeatable=True,
            )
        )

    def list_seat_releases(self, exam: str) -> Answer[SeatReleases]:
        """The seat releases of an exam.

        GET /v1/exams/{exam}/seat-releases. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._call(
            Call("GET", f"/v1/exams/{quoted(exam)}/seat-releases", is_repeatable=True)
        )

    def get_seat_release(self, exam: str, release: str) -> Answer[SeatRelease]:
        """One seat release.

        GET /v1/exams/{exam}/seat-releases/{release}. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-release`.
        """
        return self._call(
            Call(
                "GET",
                f"/v1/exams/{quoted(exam)}/seat-releases/{quoted(release)}",
                is_repeatable=True,
            )
        )

    def cancel_seat_release(self, exam: str, release: str, *, reason: str) -> Answer[SeatRelease]:
        """Cancel a seat release that has not happened.

        DELETE /v1/exams/{exam}/seat-releases/{release}. Refusals: `unknown-exam`, `exam-archived`,
        `unknown-release`, `release-done`.
        """
        return self._call(
            Call(
                "DELETE",
                with_query(
                    f"/v1/exams/{quoted(exam)}/seat-releases/{quoted(release)}", reason=reason
                ),
                is_repeatable=True,
            )
        )

    def list_refunds_due(
        self,
        exam: str,
        *,
        reservation: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer[RefundsDue]:
        """Refunds due.

        GET /v1/exams/{exam}/refunds-due. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._call(
            Call(
                "GET",
                with_query(
                    f"/v1/exams/{quoted(exam)}/refunds-due",
                    reservation=reservation,
                    after=after,
                    limit=limit,
                ),
                is_repeatable=True,
            )
        )

    def settle_refund_due(
        self, exam: str, refund: str, *, reason: str | None = None
    ) -> Answer[RefundDue]:
        """The money was sent back.

        POST /v1/exams/{exam}/refunds-due/{refund}/settle. Refusals: `unknown-exam`,
        `exam-archived`, `unknown-refund`.
        """
        return self._call(
            Call(
                "POST",
                with_query(
                    f"/v1/exams/{quoted(exam)}/refunds-due/{quoted(refund)}/settle", reason=reason
                ),
                is_repeatable=True,
            )
        )

    def reopen_refund_due(
        self, exam: str, refund: str, *, reason: str, settled_at: str
    ) -> Answer[RefundDue]:
        """The money did not arrive: it is due again.

        POST /v1/exams/{exam}/refunds-due/{refund}/reopen. Refusals: `unknown-exam`,
        `unknown-refund`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/exams/{quoted(exam)}/refunds-due/{quoted(refund)}/reopen",
                document={"reason": reason, "settled_at": settled_at},
                is_repeatable=True,
            )
        )

    def list_all_refunds_due(
        self,
        *,
        exam: str | None = None,
        reservation: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer[RefundsDue]:
        """Refunds due, of every exam and of payments without one.

        GET /v1/refunds-due. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._call(
            Call(
                "GET",
                with_query(
                    "/v1/refunds-due", exam=exam, reservation=reservation, after=after, limit=limit
                ),
                is_repeatable=True,
            )
        )

    def settle_any_refund_due(self, refund: str, *, reason: str | None = None) -> Answer[RefundDue]:
        """The money was sent back, for any exam.

        POST /v1/refunds-due/{refund}/settle. Refusals: `unknown-refund`.
        """
        return self._call(
            Call(
                "POST",
                with_query(f"/v1/refunds-due/{quoted(refund)}/settle", reason=reason),
                is_repeatable=True,
            )
        )

    def reopen_any_refund_due(
        self, refund: str, *, reason: str, settled_at: str
    ) -> Answer[RefundDue]:
        """The money did not arrive: it is due again, for any exam.

        POST /v1/refunds-due/{refund}/reopen. Refusals: `unknown-refund`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/refunds-due/{quoted(refund)}/reopen",
                document={"reason": reason, "settled_at": settled_at},
                is_repeatable=True,
            )
        )

    def list_ops_actions(
        self,
        *,
        exam: str | None = None,
        candidate: str | None = None,
        reservation: str | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer[OpsActions]:
        """What ops did, why, and how it ended.

        GET /v1/ops-actions. Refusals: `unknown-exam`, `exam-archived`, `national-id-refused`.
        """
        return self._call(
            Call(
                "GET",
                with_query(
                    "/v1/ops-actions",
                    exam=exam,
                    candidate=candidate,
                    reservation=reservation,
                    after=after,
                    limit=limit,
                ),
                is_repeatable=True,
            )
        )

    def list_unreadable_payments(
        self, *, after: str | None = None, limit: int | None = None
    ) -> Answer[UnreadablePayments]:
        """Payment events that could not be parsed.

        GET /v1/unreadable-payments. Refusals: none.
        """
        return self._call(
            Call(
                "GET",
                with_query("/v1/unreadable-payments", after=after, limit=limit),
                is_repeatable=True,
            )
        )

    def settle_unreadable_payment(
        self, payment: str, *, reason: str | None = None
    ) -> Answer[UnreadablePayment]:
        """A person has handled the event.

        POST /v1/unreadable-payments/{payment}/settle. Refusals: `unknown-payment`.
        """
        return self._call(
            Call(
                "POST",
                with_query(f"/v1/unreadable-payments/{quoted(payment)}/settle", reason=reason),
                is_repeatable=True,
            )
        )

    def make_webhook_endpoint(
        self,
        *,
        url: str,
        description: str,
        reason: str,
        exams: Sequence[str] | None = None,
        kinds: Sequence[
            Literal[
                "reservation.held",
                "reservation.released",
                "reservation.expired",
                "reservation.confirmed",
                "reservation.refunded",
                "reservation.venue_changed",
                "payment.refund_due",
                "payment.unreadable",
                "waiting_list.offered",
                "waiting_list.offer_expired",
                "exam.paused",
                "exam.resumed",
                "exam.seats_released",
            ]
        ]
        | None = None,
    ) -> Answer[WebhookSecret]:
        """Let events be sent to a URL.

        POST /v1/webhook-endpoints. Refusals: `unknown-exam`, `exam-archived`,
        `too-many-webhook-endpoints`.
        """
        return self._call(
            Call(
                "POST",
                "/v1/webhook-endpoints",
                document={
                    "url": url,
                    "description": description,
                    "reason": reason,
                    **given(exams=exams, kinds=kinds),
                },
            )
        )

    def list_webhook_endpoints(self) -> Answer[WebhookEndpoints]:
        """Where events are sent to.

        GET /v1/webhook-endpoints. Refusals: none.
        """
        return self._call(Call("GET", "/v1/webhook-endpoints", is_repeatable=True))

    def get_webhook_endpoint(self, endpoint: str) -> Answer[WebhookEndpoint]:
        """One webhook endpoint and how it stands.

        GET /v1/webhook-endpoints/{endpoint}. Refusals: `unknown-webhook-endpoint`.
        """
        return self._call(
            Call("GET", f"/v1/webhook-endpoints/{quoted(endpoint)}", is_repeatable=True)
        )

    def delete_webhook_endpoint(self, endpoint: str, *, reason: str) -> Answer[WebhookEndpoint]:
        """Send nothing there any more.

        DELETE /v1/webhook-endpoints/{endpoint}. Refusals: `unknown-webhook-endpoint`.
        """
        return self._call(
            Call(
                "DELETE",
                with_query(f"/v1/webhook-endpoints/{quoted(endpoint)}", reason=reason),
                is_repeatable=True,
            )
        )

    def list_webhook_deliveries(
        self,
        endpoint: str,
        *,
        state: Literal["pending", "delivered", "given-up"] | None = None,
        after: str | None = None,
        limit: int | None = None,
    ) -> Answer[WebhookDeliveries]:
        """What was sent there, and what became of it.

        GET /v1/webhook-endpoints/{endpoint}/deliveries. Refusals: `unknown-webhook-endpoint`.
        """
        return self._call(
            Call(
                "GET",
                with_query(
                    f"/v1/webhook-endpoints/{quoted(endpoint)}/deliveries",
                    state=state,
                    after=after,
                    limit=limit,
                ),
                is_repeatable=True,
            )
        )

    def rotate_webhook_secret(
        self, endpoint: str, *, reason: str, keep_old_s: int | None = None
    ) -> Answer[WebhookSecret]:
        """Sign with a new secret.

        POST /v1/webhook-endpoints/{endpoint}/rotate-secret. Refusals: `unknown-webhook-endpoint`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/webhook-endpoints/{quoted(endpoint)}/rotate-secret",
                document={"reason": reason, **given(keep_old_s=keep_old_s)},
            )
        )

    def disable_webhook_endpoint(self, endpoint: str, *, reason: str) -> Answer[WebhookEndpoint]:
        """Send nothing there until it is enabled.

        POST /v1/webhook-endpoints/{endpoint}/disable. Refusals: `unknown-webhook-endpoint`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/webhook-endpoints/{quoted(endpoint)}/disable",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def enable_webhook_endpoint(self, endpoint: str, *, reason: str) -> Answer[WebhookEndpoint]:
        """Send there again, first what came meanwhile.

        POST /v1/webhook-endpoints/{endpoint}/enable. Refusals: `unknown-webhook-endpoint`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/webhook-endpoints/{quoted(endpoint)}/enable",
                document={"reason": reason},
                is_repeatable=True,
            )
        )

    def replay_webhook_deliveries(
        self, endpoint: str, *, since: str, reason: str
    ) -> Answer[WebhookReplay]:
        """Send again what has happened since a time.

        POST /v1/webhook-endpoints/{endpoint}/replay. Refusals: `unknown-webhook-endpoint`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/webhook-endpoints/{quoted(endpoint)}/replay",
                document={"since": since, "reason": reason},
                is_long=True,
            )
        )

    def test_webhook_endpoint(self, endpoint: str, *, reason: str) -> Answer[WebhookEndpoint]:
        """Send an event that tells of nothing.

        POST /v1/webhook-endpoints/{endpoint}/test. Refusals: `unknown-webhook-endpoint`,
        `webhook-endpoint-disabled`.
        """
        return self._call(
            Call(
                "POST",
                f"/v1/webhook-endpoints/{quoted(endpoint)}/test",
                document={"reason": reason},
            )
        )

    def export_bookings(
        self, exam: str, *, for_: Literal["excel"] | None = None
    ) -> AsyncIterator[bytes]:
        """All bookings as a file.

        GET /v1/exams/{exam}/bookings.csv. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._file(
            Call(
                "GET",
                with_query(f"/v1/exams/{quoted(exam)}/bookings.csv", for_=for_),
                is_repeatable=True,
            )
        )

    def export_roster(
        self,
        exam: str,
        *,
        venue: str | None = None,
        session: str | None = None,
        holds: bool | None = None,
        for_: Literal["excel"] | None = None,
    ) -> AsyncIterator[bytes]:
        """Who sits where, as a file.

        GET /v1/exams/{exam}/roster.csv. Refusals: `unknown-exam`, `exam-archived`, `unknown-venue`,
        `unknown-session`.
        """
        return self._file(
            Call(
                "GET",
                with_query(
                    f"/v1/exams/{quoted(exam)}/roster.csv",
                    venue=venue,
                    session=session,
                    holds=holds,
                    for_=for_,
                ),
                is_repeatable=True,
            )
        )

    def archive_exam(self, exam: str) -> Answer[Archived]:
        """Archive an exam that is over and settled; repeating it changes nothing.

        POST /v1/exams/{exam}/archive. Refusals: `unknown-exam`, `exam-not-over`, `exam-unfinished`.
        """
        return self._call(Call("POST", f"/v1/exams/{quoted(exam)}/archive", is_repeatable=True))

    def audit_exam(self, exam: str) -> Answer[Audit]:
        """Both stores compared, promise by promise.

        GET /v1/exams/{exam}/audit. Refusals: `unknown-exam`, `exam-archived`.
        """
        return self._call(
            Call("GET", f"/v1/exams/{quoted(exam)}/audit", is_repeatable=True, is_long=True)
        )

    def create_candidate_token(
        self, *, exam: str, candidate: str, ttl_s: int
    ) -> Answer[CandidateToken]:
        """A token with which a candidate's browser calls by itself.

        POST /v1/candidate-tokens. Refusals: `unknown-exam`, `exam-archived`, `national-id-refused`,
        `candidate-tokens-off`.
        """
        return self._call(
            Call(
                "POST",
                "/v1/candidate-tokens",
                document={"exam": exam, "candidate": candidate, "ttl_s": ttl_s},
                is_repeatable=True,
            )
        )

    def revoke_candidate_tokens(
        self, *, exam: str, candidate: str, id: str | None = None, reason: str | None = None
    ) -> Answer[RevokedCandidateTokens]:
        """Revoke the tokens of a candidate, or one.

        POST /v1/candidate-tokens/revoke. Refusals: `unknown-exam`, `national-id-refused`.
        """
        return self._call(
            Call(
                "POST",
                "/v1/candidate-tokens/revoke",
                document={"exam": exam, "candidate": candidate, **given(id=id, reason=reason)},
                is_repeatable=True,
            )
        )

    def get_livez(self) -> Answer[Health]:
        """The process is up.

        GET /livez. Refusals: none.
        """
        return self._call(Call("GET", "/livez", is_repeatable=True))

    def get_readyz(self) -> Answer[Health]:
        """The service can serve.

        GET /readyz. Refusals: none.
        """
        return self._call(Call("GET", "/readyz", is_repeatable=True))

    def get_openapi(self) -> Answer[dict[str, Any]]:
        """This document.

        GET /openapi.json. Refusals: none.
        """
        return self._call(Call("GET", "/openapi.json", is_repeatable=True))

    def get_problem(self, slug: str) -> Answer[ProblemMeaning]:
        """What a problem type means.

        GET /problems/{slug}. Refusals: `not-found`.
        """
        return self._call(Call("GET", f"/problems/{quoted(slug)}", is_repeatable=True))
