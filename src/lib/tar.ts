const blockSize = 512
const encoder = new TextEncoder()

/** What a header has room for; our paths are shorter. */
const longestName = 100
const longestPrefix = 155

/**
 * One file of a tar archive (POSIX ustar): its header, its bytes, and zeros up to a whole block. An archive is its files one
 * after the other and `tarEnd`.
 */
export function tarFile(path: string, bytes: Uint8Array, modifiedAt: Date): Uint8Array {
  const header = new Uint8Array(blockSize)
  const put = (text: string, at: number) => header.set(encoder.encode(text), at)
  const octal = (value: number, length: number) => value.toString(8).padStart(length - 1, '0')
  const { prefix, name } = split(path)
  put(name, 0)
  put(octal(0o644, 8), 100)
  put(octal(0, 8), 108)
  put(octal(0, 8), 116)
  put(octal(bytes.length, 12), 124)
  put(octal(Math.floor(modifiedAt.getTime() / 1000), 12), 136)
  // The checksum counts its own field as blanks.
  put(' '.repeat(8), 148)
  put('0', 156)
  put('ustar', 257)
  put('00', 263)
  put(prefix, 345)
  put(
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      7,
    )}\0`,
    148,
  )
  const file = new Uint8Array(blockSize + Math.ceil(bytes.length / blockSize) * blockSize)
  file.set(header)
  file.set(bytes, blockSize)
  return file
}

export const tarEnd = (): Uint8Array => new Uint8Array(2 * blockSize)

/** A longer path is told in two parts, apart at a slash. */
function split(path: string): { prefix: string; name: string } {
  if (path.length <= longestName) return { prefix: '', name: path }
  const slash = path.indexOf('/', path.length - longestName - 1)
  if (slash === -1 || slash > longestPrefix) throw new RangeError('The path is too long for a tar archive.')
  return { prefix: path.slice(0, slash), name: path.slice(slash + 1) }
}
