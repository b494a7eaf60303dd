"""``python -m model compare``: models beside one another, on the same data, by the same measures.

    command      the command line
    plan         which cells there are: data set × recipe × model × variant × seed
    running      runs cells in processes of their own
    work         what such a process does: train, measure
    measuring    what a finished run is measured by (diversity, interests, reference)
    results      finished cells, put together over seeds; bootstrap
    provenance   which programs made them, on which processors
    summary      all that is reported, in one structure (main_section, studies, tables, captions)
    page, markdown, figures, item_map   how it looks

It reads data sets that ``prepare`` made and trains by ``model.training.fit``; it knows nothing of
bundles.
"""
