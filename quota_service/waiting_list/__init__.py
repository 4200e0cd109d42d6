"""The rules of the waiting list: who is offered which seats, in which order and for how long."""
