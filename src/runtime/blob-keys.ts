const segment = /^[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199}$/

/**
 * Returns the key, or throws where it could leave its place: keys are ours, so an odd one is a bug or an attack.
 * Segments never start with a dot, which rules out `..` and leaves dot names to the store's own temporary files.
 */
export function checkBlobKey(key: string): string {
  if (key.length > 900 || !key.split('/').every((part) => segment.test(part))) {
    throw new Error(`Blob key ${JSON.stringify(key.slice(0, 100))} is not allowed.`)
  }
  return key
}
