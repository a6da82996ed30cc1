"""KV caches: what replicas and stores hold of them, and how they travel.

    cache.py     which blocks of a prompt a replica has computed before: LRU by bytes, in tiers
    store.py     stores of KV blocks beyond the network, and when a fetch is worth it
    carrier.py   blocks on their way between replicas and stores
    shipping.py  a KV cache from the replica that prefilled to the one that decodes, whole or layer by layer
"""
