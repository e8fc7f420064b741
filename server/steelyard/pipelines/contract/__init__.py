"""The data contract: what requests' values are held against before anything is computed of them."""
