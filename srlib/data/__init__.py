"""Images and where they come from.

`files` writes whole files and remembers hashes, `images` reads and writes pictures, `registry` knows the public
datasets and fetches them, `sets` opens a dataset by name, `pairs` packs its LR and HR images into memory maps, and
`patches` draws training batches from those. Import from the modules; nothing heavy is loaded before it is needed.
"""
