# How rows that wait are best cut into runs.

cdef double _line(const int64_t* sizes, const double* live, Py_ssize_t count, int64_t rows) noexcept:
    """On the line between the sizes beside `rows`; before the first as dear as that, after the last in proportion."""
    cdef Py_ssize_t above = 0
    cdef Py_ssize_t below
    while above < count and sizes[above] < rows:
        above += 1
    if above < count and sizes[above] == rows:
        return live[above]
    below = above - 1
    if below < 0:
        return live[0]
    if above == count:
        return live[below] * <double>rows / <double>sizes[below]
    return live[below] + (live[above] - live[below]) * <double>(rows - sizes[below]) / <double>(
        sizes[above] - sizes[below]
    )


def plan(const int64_t[::1] sizes not None, const double[::1] live not None, int limit, double overhead_ns,
         double within):
    """See `steelyard.scheduling.plan`, the twin."""
    cdef Py_ssize_t count = sizes.shape[0]
    cdef Py_ssize_t place
    cdef Py_ssize_t cuts = 0
    cdef int rows, waiting, found, cut
    cdef double best, cost, least
    if count < 1 or live.shape[0] != count or sizes[0] < 1 or limit < 1:
        raise ValueError(
            "expected as many costs as sizes, at least one, of at least one row, and a limit of at least 1"
        )
    held_costs = array("d", bytes(8 * (limit + 1)))
    held_whole = array("d", bytes(8 * (limit + 1)))
    held_total = array("d", bytes(8 * (2 * limit + 1)))
    held_first = array("i", bytes(4 * (2 * limit + 1)))
    held_cuts = array("i", bytes(4 * (count + 1)))
    allowed = bytearray(limit + 1)
    cdef double[::1] costs = held_costs
    cdef double[::1] whole = held_whole
    cdef double[::1] total = held_total
    cdef int[::1] first = held_first
    cdef int[::1] cut_rows = held_cuts
    cdef unsigned char[::1] may = allowed
    for rows in range(1, limit + 1):
        costs[rows] = _line(&sizes[0], &live[0], count, rows)
        whole[rows] = costs[rows] + overhead_ns
    costs[0] = costs[1]
    whole[0] = whole[1]
    may[0] = may[1] = 1
    least = whole[1]
    for rows in range(2, limit + 1):
        cost = whole[rows] / rows
        may[rows] = cost <= least * (1 + within)
        if cost < least:
            least = cost
    if whole[1] <= least * (1 + within):
        for rows in range(2, limit + 1):
            may[rows] = 0
    for place in range(count - 1, -1, -1):
        if sizes[place] <= limit and may[sizes[place]]:
            cut_rows[cuts] = <int>sizes[place]
            cuts += 1
    if sizes[0] != 1:
        cut_rows[cuts] = 1
        cuts += 1
    for waiting in range(1, 2 * limit + 1):
        found = min(waiting, limit)
        while not may[found]:
            found -= 1
        best = (whole[found] + total[waiting - found]) * (1 - within)
        for place in range(cuts):
            cut = cut_rows[place]
            if cut < waiting:
                cost = whole[cut] + total[waiting - cut]
                if cost < best:
                    best = cost
                    found = cut
        first[waiting] = found
        total[waiting] = whole[found] + total[waiting - found]
    return held_costs, allowed, held_first, held_total
