"""What only the streams of a realtime run need, beside the engine: it asks, and this package answers.

``connections`` knows which streams of a run have begun and whether they are connected, ``topology`` shows when all of
them are away, ``record`` is what a StepRun shows of its stream, ``drain`` how a stream is ended before its time, and
``endings`` why. Not here: what a realtime Story asks for (``core.story.realtime``), and the workloads of its steps
(``reconcilers.adapters.stream_executor``).
"""
