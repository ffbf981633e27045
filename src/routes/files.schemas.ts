import { z } from '@hono/zod-openapi'
import { pageOf } from '../lib/pagination.ts'

export const fileSources = ['upload', 'step', 'webhook'] as const

const FileHandle = z
  .object({
    $file: z.uuid(),
    name: z.string(),
    media_type: z.string(),
    size: z.int(),
    sha256: z.string(),
  })
  .openapi('FileHandle', { description: 'Stands for the file in inputs, outputs and bodies of http steps.' })

export const File = z
  .object({
    id: z.uuid(),
    name: z.string(),
    media_type: z.string().openapi({ description: 'As it was declared; nothing is guessed from the bytes.' }),
    size: z.int().openapi({ description: 'In bytes.' }),
    sha256: z.string().openapi({ description: 'Of the bytes, in hexadecimal digits.' }),
    source: z.enum(fileSources),
    execution_id: z
      .uuid()
      .nullable()
      .openapi({ description: 'The execution that made it or that it came for: it is deleted with that.' }),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime().nullable().openapi({ description: 'When it is deleted. Null = never by itself.' }),
    handle: FileHandle,
  })
  .openapi('File')
export const FileList = pageOf(File).openapi('FileList')

const described = {
  name: 'report.pdf',
  media_type: 'application/pdf',
  size: 48_213,
  sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
}
export const fileExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  ...described,
  source: 'upload' as const,
  execution_id: null,
  created_at: '2026-11-22T08:00:00.000Z',
  expires_at: null,
  handle: { $file: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f', ...described },
}
