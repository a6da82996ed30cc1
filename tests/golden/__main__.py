"""Write every golden file anew."""

from tests.golden import HERE, cases

for path, text in cases():
    old = path.read_text() if path.exists() else None
    if text != old:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(f"{'changed' if old is not None else 'new'}: {path.relative_to(HERE)}")
