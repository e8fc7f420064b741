# What other extensions know of this one's classes.


cdef class InferRequest:
    cdef readonly str model_name
    cdef readonly str model_version
    cdef readonly str id
    cdef readonly bytes body
    cdef readonly Py_ssize_t body_bytes
    cdef readonly Py_ssize_t held_bytes
    cdef list tensors
    cdef dict given_parameters
    cdef list asked_outputs
