import type { paths } from "./api";

type Responses = paths["/v1/exams/{exam}/reservations"]["post"]["responses"];
type Refusal = Responses[409]["content"]["application/problem+json"];

export function left(refusal: Refusal): number {
  switch (refusal.type) {
    case "/problems/sold-out":
      return refusal.left.length;
    case "/problems/registration-not-open":
      return Date.parse(refusal.opens_at);
    default:
      return 0;
  }
}

export function wrong(refusal: Refusal): number {
  // @ts-expect-error Only after the type was looked at are there members of its own.
  return refusal.left.length;
}
