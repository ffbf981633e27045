interface Page<T> {
  items: T[]
  next_cursor: string | null
}

/** All items of a list, page by page: `for await (const recipe of paginate((cursor) => api.listRecipes({ query: { cursor } })))`. */
export async function* paginate<T>(
  page: (cursor: string | undefined) => PromiseLike<{ data: Page<T> }>,
): AsyncGenerator<T, void, undefined> {
  let cursor: string | undefined
  do {
    const { data } = await page(cursor)
    yield* data.items
    cursor = data.next_cursor ?? undefined
  } while (cursor !== undefined)
}
