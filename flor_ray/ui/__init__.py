"""The page, `flor-ray ui`: one store in a browser, read through the query engine, so that nothing is sampled.

    access      who may ask, and what a browser may do with the answer (pure)
    cells       values as JSON that a page can show and that nothing can hide in (pure)
    notices     warnings of one request, which its answer carries
    opened      the project that is looked at
    app         requests to answers: checks, errors in words, files (with `server` and `routes`, the FastAPI door)
    server      a port, a token, a browser
    routes/     one module per page of what is asked for under /api
    static/     the page itself: HTML, one style sheet, ES modules, and uPlot; nothing is built

What a page shows is found out in modules without FastAPI; routes read arguments and hand on.
"""
