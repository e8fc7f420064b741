# From a batch that has run to its callers.

cdef enum:
    # `scheduling.ticket.DONE`
    DONE = 3

cdef bytes DECISION_ID = b"steelyard-decision-id"
# A named tuple's own constructor takes twice as long.
cdef object new_field = tuple.__new__
cdef object FIELD = NeverIndexedHeader


def any_outputs_asked(list requests not None):
    """Whether any of the requests names the outputs that it wants."""
    for request in requests:
        if (<InferRequest?>request).asked_outputs:
            return True
    return False


def answer_all(list tickets, list outcomes, list decision_ids, tuple trailing, Py_ssize_t max_answer_bytes, list left):
    """Answers the calls of tickets that have run, where they are answers to be given as they are.

    Returns the tickets that were answered, and their rows. What is `left` to others is put there: ticket, call, outcome
    and decision id. The outcome of one that could not be answered is the error that kept it from that.
    """
    cdef Py_ssize_t place, count = PyList_GET_SIZE(tickets)
    cdef list answered = []
    cdef int64_t rows = 0
    cdef Ticket ticket
    cdef UnaryCall unary
    cdef str decision_id
    cdef list known = None
    cdef object front = None, connection, last = None
    if PyList_GET_SIZE(outcomes) != count or PyList_GET_SIZE(decision_ids) != count:
        raise ValueError(
            f"expected {count} outcomes and decision ids, came {len(outcomes)} and {len(decision_ids)}"
        )
    for place in range(count):
        ticket = <Ticket?><object>PyList_GET_ITEM(tickets, place)
        outcome = <object>PyList_GET_ITEM(outcomes, place)
        decision_id = <str?><object>PyList_GET_ITEM(decision_ids, place)
        found = ticket.call
        ticket.state = DONE
        found.place = None
        if (
            type(outcome) is not bytes or PyBytes_GET_SIZE(outcome) > max_answer_bytes
            or not isinstance(found, EngineCall) or (<EngineCall>found).cancelled
            or (<EngineCall>found).arm is not None
        ):
            left.append((ticket, found, outcome, decision_id))
            continue
        try:
            if type(found) is not UnaryCall or (<UnaryCall>found)._answer is None:
                problem = found.answer(outcome, decision_id, trailing)
            else:
                unary = <UnaryCall>found
                connection = unary.connection
                if connection is not last:
                    if connection.front is not front:
                        front = connection.front
                        known = front.trailing.known(trailing)
                    connection.call_ended()
                    last = connection
                problem = unary._answer(
                    unary.rpc, outcome, [new_field(FIELD, (DECISION_ID, decision_id.encode("ascii"))), *known]
                )
        except Exception as error:
            problem = error
        if problem is not None:
            left.append((ticket, found, problem, decision_id))
            continue
        answered.append(ticket)
        rows += ticket.rows
    return answered, rows


def let_go(list tickets):
    """Lets go of the calls and requests of tickets: the heap of deadlines may hold a ticket for as long as its deadline
    is away."""
    cdef Ticket ticket
    for one in tickets:
        ticket = <Ticket?>one
        ticket.call = ticket.request = None
