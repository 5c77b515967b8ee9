"""The page, `flor-ray ui`: one store in a browser, read through the query engine, so that nothing is sampled.

server      a port, a token, a browser; `warming` imports meanwhile what the first question needs
app         requests to answers: who may ask, errors in words, files
routes/     what pages ask for under /api: one module per page; they read arguments and hand on
runs/ curves/ values/ comparing/ replays/      what is found out for them, without FastAPI
snapshots   what is known of all runs at one time, for all of these
access      who may ask, and what a browser may do with the answer (pure)
cells       values as JSON that a page can show and that nothing can hide in (pure)
notices     warnings of one request, which its answer carries
opened      the project that is looked at
static/     the page itself: HTML, style sheets, ES modules, and uPlot; nothing is built
"""
